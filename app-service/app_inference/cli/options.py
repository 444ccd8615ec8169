"""Options that several commands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

ModelsDir = Annotated[
    Path, typer.Option("--models-dir", envvar="INFERENCE_MODELSDIR", help="Folder of the models.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Say it as JSON.")]
ModelType = Annotated[str, typer.Option("--model-type", help="The decoder, for a model that does not name it.")]
Url = Annotated[str, typer.Option("--url", envvar="EDGEX_MODELS_URL", help="Where app-inference answers.")]
KeeperUrl = Annotated[str, typer.Option("--keeper-url", envvar="EDGEX_KEEPER_URL", help="Where core-keeper answers.")]
CommandUrl = Annotated[
    str, typer.Option("--command-url", envvar="EDGEX_COMMAND_URL", help="Where core-command answers.")
]
Service = Annotated[str, typer.Option("--service", help="Service key of the app-inference that is meant.")]
Device = Annotated[str, typer.Option("--device", help="OpenVINO device: CPU, GPU, NPU, AUTO:GPU,CPU.")]
Precision = Annotated[
    str, typer.Option("--precision", envvar="INFERENCE_PRECISION", help="Of inference: auto, f32, bf16 or f16.")
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
