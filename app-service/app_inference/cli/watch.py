"""`watch`: the progress of rollouts, live; and waiting for the outcome of one."""

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

from app_inference.cli import command as o
from app_inference.cli.client import Client
from app_inference.cli.output import console, say, working
from app_inference.rollout.desired import Desired
from app_inference.rollout.gate import Verdict
from app_inference.rollout.reported import ModelReport, Reported, VersionReport
from app_inference.rollout.steps import Step

EVERY = 0.3  # seconds between two reads of the reported state
_SERVED = (Step.SHADOW, Step.CANARY, Step.SWITCH, Step.OBSERVE, Step.ROLLBACK)


class Ended(StrEnum):
    """The outcome of a request."""

    SERVES = "serves"
    REFUSED = "was refused"
    ROLLED_BACK = "was rolled back"
    INCONCLUSIVE = "is inconclusive; promote it, roll it back, or deploy it again with other limits"
    SUPERSEDED = "was superseded"
    OPEN = "is not finished yet"


@dataclass(frozen=True, slots=True)
class End:
    """An outcome and its reason."""

    outcome: Ended
    reason: str = ""


@o.command
def watch(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The model; all if none.")] = "",
    seconds: Annotated[float, typer.Option(help="End after this time; 0: until Ctrl-C.")] = 0.0,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Show the state of rollouts as it changes. On a pipe: one line for each change."""
    client = Client(keeper_url=keeper_url, service=service)
    client.check_service()
    end = time.monotonic() + seconds if seconds else float("inf")
    first = _first(client, name)  # fails at once where core-keeper does not answer; later that is waited out
    if console().is_terminal and not as_json:
        _watch_live(client, name, first, end)
    else:
        _watch_lines(client, name, first, end, as_json)


def until_ended(
    client: Client, name: str, version: str, desired: Desired, before: ModelReport | None, patience: float, *,
    is_quiet: bool,
) -> End:  # fmt: skip
    """Follow a request of `desired` to its outcome, for `patience` seconds; `before` is the report of before it."""
    deadline, printed, did_serve, verdict = time.monotonic() + patience, "", False, ""
    with working(f"{name}@{version} …", is_quiet=is_quiet) as say_line:
        while time.monotonic() < deadline:
            if end := superseded(client.desired(), desired, name):
                return end
            reported = client.reported()
            report = reported.models.get(name)
            if (
                report is not None
                and reported.generation_seen >= desired.generation
                and is_news(report, version, before)
            ):
                did_serve = did_serve or report.state in _SERVED
                end = ended(report, version, did_serve=did_serve)
                if end is not None:
                    return end
                if verdict == report.verdict == Verdict.INCONCLUSIVE:  # twice: it was not decided beforehand
                    return End(Ended.INCONCLUSIVE, report.reason)
                verdict = report.verdict
                line = f"{report.state} {report.reason}".strip()
                if line != printed and not is_quiet:
                    say_line(line)
                printed = line
            time.sleep(EVERY)
    return End(Ended.OPEN, printed or "no service follows the request: does a pipeline use the model?")


def superseded(now: Desired, then: Desired, name: str) -> End | None:
    """The outcome of a request of `then` that another has replaced; None while it is in force."""
    newer, older = now.models.get(name), then.models[name]
    if newer is None:
        return End(Ended.SUPERSEDED, "somebody has removed the request")
    if (newer.version, newer.strategy) == (older.version, older.strategy):
        return None
    return End(Ended.SUPERSEDED, f"{newer.asked_by or 'somebody else'} has requested version {newer.version}")


def is_news(report: ModelReport, version: str, before: ModelReport | None) -> bool:
    """Whether a report may be about the request: the document can be newer than its row of this model."""
    if report.active is not None and report.active.version == version:
        return True
    return report.state != Step.IDLE or report != before


def ended(report: ModelReport, version: str, *, did_serve: bool) -> End | None:
    """The outcome of the request for `version` in a report; None while it is under way."""
    if report.state != Step.IDLE:
        return None
    if report.active and report.active.version == version:
        return End(Ended.SERVES)
    if not report.reason:
        return None
    return End(Ended.ROLLED_BACK if did_serve else Ended.REFUSED, report.reason)


def _first(client: Client, name: str) -> Reported:
    reported = client.reported()
    if name and name not in reported.models:
        known = ", ".join(reported.models) or "none"
        raise NotFound(f"nothing is reported of model '{name}'; reported are {known}")
    return reported


def _watch_live(client: Client, name: str, reported: Reported, end: float) -> None:
    with Live(_picture(reported, name), console=console(), auto_refresh=False) as live:
        while time.monotonic() < end:
            time.sleep(EVERY)
            try:
                live.update(_picture(client.reported(), name), refresh=True)
            except Unreachable as error:
                live.update(Text(str(error), style="red"), refresh=True)


def _watch_lines(client: Client, name: str, reported: Reported, end: float, as_json: bool) -> None:
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
            reported = client.reported()
        except EdgexError:  # until it answers again, or Ctrl-C
            continue


def _picture(reported: Reported, name: str) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "state", "serves", "previous", "candidate", "gate", "why"):
        table.add_column(column, overflow="fold", no_wrap=column in ("model", "state"))
    for key, report in reported.models.items():
        if name in ("", key):
            table.add_row(*map(Text, (key, report.state, *_versions(report), _gate(report), report.why)))
    refusal = [Text(reported.refusal, style="red")] if reported.refusal else []
    return Group(Text(f"generation {reported.generation_seen}", style="dim"), table, *refusal)


def _versions(report: ModelReport) -> tuple[str, str, str]:
    return tuple(_version(it) for it in (report.active, report.previous, report.candidate))  # type: ignore[return-value]


def _version(report: VersionReport | None) -> str:
    if report is None:
        return ""
    return f"{report.version} {report.digest}".strip()


def _gate(report: ModelReport) -> str:
    return " ".join(f"{key} {value:g}" for key, value in report.gate.items())


def _line(name: str, report: ModelReport) -> str:
    serves, previous, candidate = _versions(report)
    facts = {"serves": serves, "previous": previous, "candidate": candidate, "gate": _gate(report), "why": report.why,
             "quarantined": ", ".join(report.quarantined)}  # fmt: skip
    return f"{name} {report.state}  " + "  ".join(f"{key}: {value}" for key, value in facts.items() if value)


def _json_line(name: str, report: ModelReport) -> str:
    return msgspec.json.encode({"model": name, **msgspec.to_builtins(report)}).decode()
