"""`deploy`, `rollback`, `promote` and `pause`: wishes for the running system."""

from typing import Annotated, Literal

import msgspec
import typer
from edgex_kit.errors import Conflict, Invalid, NotFound

from app_inference.cli import options as o
from app_inference.cli.gateway import Gateway
from app_inference.cli.outcome import REFUSED, command
from app_inference.cli.show import say, say_json, warn
from app_inference.cli.watching import Ended, until_ended
from app_inference.repository import Repository
from app_inference.updates.desired import CanaryWish, Desired, ModelWish, ObserveWish
from app_inference.updates.reported import ModelReport
from app_inference.updates.steps import Step

StrategyOption = Annotated[
    Literal["swap", "canary", "shadow"], typer.Option(help="swap at once, canary for some cameras first, or shadow.")
]
Percent = Annotated[float, typer.Option(min=0.01, max=100, help="Share of the cameras a canary serves.")]
Cameras = Annotated[str, typer.Option(help="These cameras are the canary's, comma separated.")]
MinFrames = Annotated[int, typer.Option(min=1, help="Frames with something in them before the gate may pass it.")]
Hold = Annotated[float, typer.Option(min=0, help="Seconds the gate looks at least.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its end; exit code 1 when it goes back.")]
Patience = Annotated[float, typer.Option("--timeout", min=1, help="Seconds --wait waits.")]
By = Annotated[str, typer.Option("--by", help="Who asks, for the audit log.")]


@command
def deploy(
    model: o.WantedModel,
    strategy: StrategyOption = "swap",
    percent: Percent = 25.0,
    cameras: Cameras = "",
    min_frames: MinFrames = 200,
    hold: Hold = 30.0,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Live threshold instead of its own.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try a version that went into quarantine again.")] = False,
    allow_label_change: Annotated[bool, typer.Option("--allow-label-change", help="Labels may be others.")] = False,
    hold_on_fail: Annotated[bool, typer.Option("--hold-on-fail", help="Stop there instead of going back.")] = False,
    by: By = "edgex-models",
    wait: Wait = False,
    timeout: Patience = 600.0,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    url: o.Url = o.URL,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Wish a version of a model; app-inference follows while frames flow."""
    name, version = _wanted(Repository(models_dir), model)
    wish = ModelWish(
        version=version,
        strategy=strategy,
        canary=CanaryWish(percent=percent, cameras=tuple(filter(None, (it.strip() for it in cameras.split(","))))),
        observe=ObserveWish(min_frames=min_frames, hold_seconds=hold),
        on_fail="hold" if hold_on_fail else "rollback",
        threshold=threshold,
        retry=retry,
        allow_label_change=allow_label_change,
        asked_by=by,
    )
    _send(Gateway(url, keeper_url, "", service), name, wish, wait=timeout if wait else 0.0, as_json=as_json)


@command
def rollback(
    name: o.ModelName,
    to: Annotated[str, typer.Option(help="This version; else the one before.")] = "",
    by: By = "edgex-models",
    wait: Wait = False,
    timeout: Patience = 600.0,
    url: o.Url = o.URL,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Go back to the version before: at once while it is still warm."""
    gateway = Gateway(url, keeper_url, "", service)
    target = to or _before(name, gateway)
    _send(gateway, name, ModelWish(version=target, asked_by=by), wait=timeout if wait else 0.0, as_json=as_json)


@command
def promote(name: o.ModelName, command_url: o.CommandUrl = o.COMMAND_URL, service: o.Service = o.SERVICE) -> None:
    """Let a candidate pass the gate on your word."""
    _command(Gateway("", "", command_url, service), name, "Promote", "true")


@command
def pause(
    name: o.ModelName,
    off: Annotated[bool, typer.Option("--off", help="Go on.")] = False,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
    by: By = "edgex-models",
) -> None:
    """Hold a rollout where it is, or let it go on."""
    gateway = Gateway("", keeper_url, "", service)
    now = gateway.desired().models.get(name)
    if now is None:
        raise NotFound(f"nothing is wished of model '{name}'")
    gateway.wish(name, msgspec.structs.replace(now, paused=not off, asked_by=by))
    say(f"{name}: {'goes on' if off else 'paused'}")


def _send(gateway: Gateway, name: str, wish: ModelWish, *, wait: float, as_json: bool) -> None:
    """Write the wish, and follow it where that is asked."""
    before = gateway.report(name)
    desired = gateway.wish(name, wish)
    if not wait:
        _say_sent(name, wish, desired, as_json)
        return
    ended = until_ended(gateway, name, wish.version, desired.generation, before, wait, is_quiet=as_json)
    if as_json:
        say_json({"model": name, "version": wish.version, "generation": desired.generation, "outcome": ended.outcome,
                  "reason": ended.reason})  # fmt: skip
    else:
        say(f"{name}@{wish.version} {ended.outcome}{': ' if ended.reason else ''}{ended.reason}")
    if ended.outcome != Ended.SERVES:
        raise typer.Exit(REFUSED)


def _say_sent(name: str, wish: ModelWish, desired: Desired, as_json: bool) -> None:
    if as_json:
        say_json({"model": name, "generation": desired.generation, "wish": wish})
        return
    wished = f"generation {desired.generation} wishes {name}@{wish.version} ({wish.strategy})"
    say(f"{wished}; see `edgex-models watch {name}`")


def _wanted(repository: Repository, model: str) -> tuple[str, str]:
    """Name and version; the newest on this disk when none is said."""
    name, _, version = model.partition("@")
    if "/" in name:
        raise Invalid(f"{model}: a model is deployed by its name; bring a file in with `edgex-models add`")
    if not version:
        return name, repository.newest(name).version
    if name in repository.names() and version not in repository.versions(name):
        warn(f"{model} is not in {repository.root}; if that is not the folder of app-inference, all is well")
    return name, version


def _before(name: str, gateway: Gateway) -> str:
    """The version before. While another one is tried that is the one it started from, which is in the wish before."""
    report = gateway.report(name)
    if report is None:
        raise NotFound(f"nothing is reported of model '{name}'")
    target = _returning_to(report)
    if not target:
        raise Conflict(f"model '{name}' has no version to go back to; say --to")
    return target


def _returning_to(report: ModelReport) -> str:
    serving = report.active.version if report.active else ""
    if report.state not in (Step.IDLE, Step.COMMIT, Step.SWITCH, Step.OBSERVE):
        return serving  # what serves all the while
    return report.previous.version if report.previous and report.previous.version != serving else ""


def _command(gateway: Gateway, name: str, resource: str, value: str) -> None:
    gateway.command(name, resource, {resource: value})
    say(f"{name}: {resource} accepted by {gateway.device(name)}")
