"""`edgex-models`: the list of commands."""

from typing import Annotated

import typer
from edgex_kit import __version__

from app_inference.cli import (
    add as adding,
)
from app_inference.cli import (
    bench as benching,
)
from app_inference.cli import (
    deploy as deploying,
)
from app_inference.cli import (
    list_models as listing,
)
from app_inference.cli import (
    plan as planning,
)
from app_inference.cli import (
    tags as keeping,
)
from app_inference.cli import (
    verify as verifying,
)
from app_inference.cli import (
    watch as watching,
)

app = typer.Typer(
    name="edgex-models",
    help="Models of EdgeX Vision: bring them in, look at them, and let them serve while frames flow.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 a service does not answer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DISK, _SYSTEM = "On this machine's disk", "In the running system"

for name, action, panel in (
    ("list", listing.list_models, _DISK),
    ("inspect", listing.inspect, _DISK),
    ("pull", adding.pull, _DISK),
    ("add", adding.add_model, _DISK),
    ("golden", adding.golden, _DISK),
    ("verify", verifying.verify, _DISK),
    ("bench", benching.bench, _DISK),
    ("alias", keeping.alias, _DISK),
    ("pin", keeping.pin_version, _DISK),
    ("remove", keeping.remove, _DISK),
    ("plan", planning.plan, _SYSTEM),
    ("deploy", deploying.deploy, _SYSTEM),
    ("watch", watching.watch, _SYSTEM),
    ("promote", deploying.promote, _SYSTEM),
    ("pause", deploying.pause, _SYSTEM),
    ("rollback", deploying.rollback, _SYSTEM),
):
    app.command(name, rich_help_panel=panel)(action)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgex-models {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Models of EdgeX Vision: bring them in, look at them, and let them serve while frames flow."""
    del version  # said by its callback, before a command is asked for


def main() -> None:
    """Entry point."""
    app()
