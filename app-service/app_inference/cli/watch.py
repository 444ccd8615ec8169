"""`watch`: what becomes of wishes, live; and waiting for the end of one."""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from edgex_kit.wire.errors import EdgexError, NotFound, Unreachable
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app_inference.cli import options as o
from app_inference.cli.gateway import Gateway
from app_inference.cli.outcome import command
from app_inference.cli.output import console, say, working
from app_inference.rollout.reported import ModelReport, Reported, VersionReport
from app_inference.rollout.steps import Step

EVERY = 0.3  # seconds between two looks
_SERVED = (Step.SHADOW, Step.CANARY, Step.SWITCH, Step.OBSERVE, Step.ROLLBACK)


class Ended(StrEnum):
    """How a wish ends."""

    SERVES = "serves"
    REFUSED = "was refused"
    WENT_BACK = "went back"
    OPEN = "is not through yet"


@dataclass(frozen=True, slots=True)
class End:
    """How a wish ended, and why."""

    outcome: Ended
    reason: str = ""


@command
def watch(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The model; all if none.")] = "",
    seconds: Annotated[float, typer.Option(help="End after so long; 0 goes on until Ctrl-C.")] = 0.0,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Show what is wished and what became of it, as it changes. On a pipe: a line a change."""
    gateway = Gateway("", keeper_url, "", service)
    end = time.monotonic() + seconds if seconds else float("inf")
    first = _told(gateway, name)  # nobody there is said at once; later on it is waited out
    if console().is_terminal and not as_json:
        _watch_live(gateway, name, first, end)
    else:
        _watch_lines(gateway, name, first, end, as_json)


def until_ended(
    gateway: Gateway, name: str, version: str, generation: int, before: ModelReport | None, patience: float, *,
    is_quiet: bool,
) -> End:  # fmt: skip
    """Follow a wish to its end. `before` is what was reported before it was written."""
    deadline, said, did_serve = time.monotonic() + patience, "", False
    with working(f"{name}@{version} …", is_quiet=is_quiet):
        while time.monotonic() < deadline:
            reported = gateway.reported()
            report = reported.models.get(name)
            if report is not None and reported.generation_seen >= generation and is_news(report, version, before):
                did_serve = did_serve or report.state in _SERVED
                end = ended(report, version, did_serve=did_serve)
                if end is not None:
                    return end
                line = f"{report.state} {report.reason}".strip()
                if line != said and not is_quiet:
                    say(line)
                said = line
            time.sleep(EVERY)
    return End(Ended.OPEN, said or "nobody follows the wish: does a pipeline use the model?")


def is_news(report: ModelReport, version: str, before: ModelReport | None) -> bool:
    """Whether a report may be about the wish: the document can be newer while this model was not yet looked at."""
    if report.active is not None and report.active.version == version:
        return True
    return report.state != Step.IDLE or report != before


def ended(report: ModelReport, version: str, *, did_serve: bool) -> End | None:
    """How the wish for `version` ended by what is reported; None while it goes on."""
    if report.state != Step.IDLE:
        return None
    if report.active and report.active.version == version:
        return End(Ended.SERVES)
    if not report.reason:
        return None
    return End(Ended.WENT_BACK if did_serve else Ended.REFUSED, report.reason)


def _told(gateway: Gateway, name: str) -> Reported:
    reported = gateway.reported()
    if name and name not in reported.models:
        there = ", ".join(reported.models) or "none"
        raise NotFound(f"nothing is reported of model '{name}'; reported are {there}")
    return reported


def _watch_live(gateway: Gateway, name: str, reported: Reported, end: float) -> None:
    with Live(_picture(reported, name), console=console(), auto_refresh=False) as live:
        while time.monotonic() < end:
            time.sleep(EVERY)
            try:
                live.update(_picture(gateway.reported(), name), refresh=True)
            except Unreachable as error:
                live.update(Text(str(error), style="red"), refresh=True)


def _watch_lines(gateway: Gateway, name: str, reported: Reported, end: float, as_json: bool) -> None:
    seen: dict[str, ModelReport] = {}
    if not reported.models and not as_json:
        say("nothing is reported yet")
    while True:
        for key, report in reported.models.items():
            if name in ("", key) and seen.get(key) != report:
                seen[key] = report
                say(_json_line(key, report) if as_json else _line(key, report))
        if time.monotonic() >= end:
            return
        time.sleep(EVERY)
        try:
            reported = gateway.reported()
        except EdgexError:  # it comes back, or the person ends this
            continue


def _picture(reported: Reported, name: str) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "state", "serves", "before", "tried", "gate", "why"):
        table.add_column(column, overflow="fold", no_wrap=column in ("model", "state"))
    for key, report in reported.models.items():
        if name in ("", key):
            table.add_row(*map(Text, (key, report.state, *_versions(report), _gate(report), report.why)))
    told = [Text(reported.refusal, style="red")] if reported.refusal else []
    return Group(Text(f"generation {reported.generation_seen}", style="dim"), table, *told)


def _versions(report: ModelReport) -> tuple[str, str, str]:
    return tuple(_version(it) for it in (report.active, report.previous, report.candidate))  # type: ignore[return-value]


def _version(report: VersionReport | None) -> str:
    if report is None:
        return ""
    return f"{report.version} {report.digest}".strip()


def _gate(report: ModelReport) -> str:
    return " ".join(f"{key} {value:g}" for key, value in report.gate.items())


def _line(name: str, report: ModelReport) -> str:
    serves, before, tried = _versions(report)
    facts = {"serves": serves, "before": before, "tried": tried, "gate": _gate(report), "why": report.why,
             "quarantined": ", ".join(report.quarantined)}  # fmt: skip
    return f"{name} {report.state}  " + "  ".join(f"{key}: {value}" for key, value in facts.items() if value)


def _json_line(name: str, report: ModelReport) -> str:
    return msgspec.json.encode({"model": name, **msgspec.to_builtins(report)}).decode()
