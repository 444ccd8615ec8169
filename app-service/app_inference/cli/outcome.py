"""How a command ends: its exit code, and what it says when it does not end well."""

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer
from edgex_kit.wire.errors import EdgexError, TimedOut, Unreachable

from app_inference.cli.output import complain

REFUSED, UNREACHABLE = 1, 3

P = ParamSpec("P")


def command(action: Callable[P, None]) -> Callable[P, None]:
    """A command whose refusals are one line on standard error and an exit code, never a traceback."""

    @functools.wraps(action)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            action(*args, **kwargs)
        except EdgexError as error:
            complain(str(error))
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return told


def exit_code(error: EdgexError) -> int:
    """3 when nobody answers, 1 when somebody refuses."""
    return UNREACHABLE if isinstance(error, Unreachable | TimedOut) else REFUSED
