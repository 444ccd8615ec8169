"""What the commands share: their options, and how each of them ends."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, ParamSpec

import typer
from edgex_kit.wire.errors import EdgexError, Invalid, TimedOut, Unreachable

from app_inference.cli.output import complain

REFUSED, UNREACHABLE = 1, 3  # exit codes

ModelsDir = Annotated[
    Path, typer.Option("--models-dir", envvar="INFERENCE_MODELSDIR", help="Folder of the models.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelType = Annotated[str, typer.Option("--model-type", help="The decoder, for a model that does not name it.")]
Url = Annotated[str, typer.Option("--url", envvar="EDGEX_MODELS_URL", help="Address of app-inference.")]
KeeperUrl = Annotated[str, typer.Option("--keeper-url", envvar="EDGEX_KEEPER_URL", help="Address of core-keeper.")]
CommandUrl = Annotated[str, typer.Option("--command-url", envvar="EDGEX_COMMAND_URL", help="Address of core-command.")]
Service = Annotated[str, typer.Option("--service", help="Service key of the app-inference that is meant.")]
Device = Annotated[str, typer.Option("--device", help="OpenVINO device: CPU, GPU, NPU, AUTO:GPU,CPU.")]
Precision = Annotated[
    Literal["auto", "f32", "bf16", "f16"],
    typer.Option("--precision", envvar="INFERENCE_PRECISION", help="Precision of inference; auto: the device chooses."),
]
WantedModel = Annotated[str, typer.Argument(metavar="MODEL", help="A name, name@version, or a path.")]
WantedModels = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]...", help="Names, name@version or paths; all if none.")
]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]

MODELS_DIR = Path("models")
URL = "http://localhost:59745"
KEEPER_URL = "http://localhost:59890"
COMMAND_URL = "http://localhost:59882"
SERVICE = "app-inference"

P = ParamSpec("P")


def command(action: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors are one line on standard error and an exit code, never a traceback."""

    @functools.wraps(action)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            action(*args, **kwargs)
        except EdgexError as error:
            complain(str(error))
            raise typer.Exit(UNREACHABLE if isinstance(error, Unreachable | TimedOut) else REFUSED) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def name_and_version(model: str) -> tuple[str, str]:
    """Split name@version. Raises Invalid for a name alone."""
    name, _, version = model.partition("@")
    if not version:
        raise Invalid(f"{model}: which version? For example {model}@1.2.3")
    return name, version
