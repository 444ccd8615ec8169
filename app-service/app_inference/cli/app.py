"""`edgex-models`: the list of commands."""

from typing import Annotated

import typer
from edgex_kit import __version__

from app_inference.cli.add import add_model, golden, pull
from app_inference.cli.bench import bench
from app_inference.cli.deploy import deploy, pause, promote, rollback
from app_inference.cli.inspect import inspect
from app_inference.cli.list import list_models
from app_inference.cli.plan import plan
from app_inference.cli.tags import alias, pin_version, remove
from app_inference.cli.verify import verify
from app_inference.cli.watch import watch

app = typer.Typer(
    name="edgex-models",
    help="Models of EdgeX Vision: add them, inspect them, and deploy them while frames flow.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 a service does not answer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DISK, _SYSTEM = "On this machine's disk", "In the running system"

for name, action, panel in (
    ("list", list_models, _DISK),
    ("inspect", inspect, _DISK),
    ("pull", pull, _DISK),
    ("add", add_model, _DISK),
    ("golden", golden, _DISK),
    ("verify", verify, _DISK),
    ("bench", bench, _DISK),
    ("alias", alias, _DISK),
    ("pin", pin_version, _DISK),
    ("remove", remove, _DISK),
    ("plan", plan, _SYSTEM),
    ("deploy", deploy, _SYSTEM),
    ("watch", watch, _SYSTEM),
    ("promote", promote, _SYSTEM),
    ("pause", pause, _SYSTEM),
    ("rollback", rollback, _SYSTEM),
):
    app.command(name, rich_help_panel=panel)(action)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgex-models {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Models of EdgeX Vision: add them, inspect them, and deploy them while frames flow."""
    del version  # its callback has printed it


def main() -> None:
    """Entry point."""
    app()
