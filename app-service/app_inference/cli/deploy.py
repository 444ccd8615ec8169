"""`deploy`, `rollback`, `promote` and `pause`: wishes for the running system."""

from typing import Annotated, Literal

import msgspec
import typer
from edgex_kit.wire.errors import Conflict, Invalid, NotFound, Unreachable

from app_inference.cli import options as o
from app_inference.cli.gateway import Gateway
from app_inference.cli.outcome import REFUSED, command
from app_inference.cli.output import say, say_json, warn
from app_inference.cli.watch import Ended, until_ended
from app_inference.models.repository import Repository
from app_inference.models.version_numbers import chosen, is_floating
from app_inference.rollout.desired import CanaryOptions, Desired, ModelRequest, ObserveOptions
from app_inference.rollout.reported import ModelReport
from app_inference.rollout.steps import Step

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
Via = Annotated[
    Literal["keeper", "command"],
    typer.Option(help="keeper writes the desired state, command asks the model's device through core-command."),
]


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
    via: Via = "keeper",
    wait: Wait = False,
    timeout: Patience = 600.0,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    command_url: o.CommandUrl = o.COMMAND_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Wish a version of a model; app-inference follows while frames flow."""
    name, version = _wanted(Repository(models_dir), model)
    wish = ModelRequest(
        version=version,
        strategy=strategy,
        canary=CanaryOptions(percent=percent, cameras=tuple(filter(None, (it.strip() for it in cameras.split(","))))),
        observe=ObserveOptions(min_frames=min_frames, hold_seconds=hold),
        on_fail="hold" if hold_on_fail else "rollback",
        threshold=threshold,
        retry=retry,
        allow_label_change=allow_label_change,
        asked_by=by,
    )
    gateway = Gateway("", keeper_url, command_url, service)
    before = gateway.report(name)
    meant = _meant(gateway, name, version)
    if before is not None and not retry:
        _check_quarantine(name, meant, before)
    if via == "command":
        gateway.command(name, "Deploy", {"Deploy": msgspec.json.encode(wish).decode()})
    else:
        if not meant:
            _warn_of_absence(Repository(models_dir), name, version)
        gateway.wish(name, wish)
        if before is None:
            warn(f"{service} has reported nothing on a model '{name}': the wish is kept until a pipeline names it")
    _follow(gateway, name, before, timeout if wait else 0.0, as_json)


@command
def rollback(
    name: o.ModelName,
    to: Annotated[str, typer.Option(help="This version; else the one before.")] = "",
    by: By = "edgex-models",
    wait: Wait = False,
    timeout: Patience = 600.0,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    command_url: o.CommandUrl = o.COMMAND_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Go back to the version before: at once while it is still warm."""
    gateway = Gateway("", keeper_url, command_url, service)
    before = gateway.report(name)
    if to:
        _meant(gateway, name, to)
        gateway.wish(name, ModelRequest(version=to, promoted=True, asked_by=by))
    else:
        _go_back(gateway, name, before, by)
    _follow(gateway, name, before, timeout if wait else 0.0, as_json)


@command
def promote(
    name: o.ModelName,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    command_url: o.CommandUrl = o.COMMAND_URL,
    service: o.Service = o.SERVICE,
    by: By = "edgex-models",
) -> None:
    """Let a candidate pass the gate on your word."""
    gateway = Gateway("", keeper_url, command_url, service)
    try:
        gateway.command(name, "Promote", {"Promote": "true"})
    except (Unreachable, NotFound) as error:
        now = gateway.desired().models.get(name)
        if now is None:
            raise
        warn(f"{error}; the desired state is written instead")
        gateway.wish(name, msgspec.structs.replace(now, promoted=True, asked_by=by))
    say(f"{name}: promoted")


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


def _go_back(gateway: Gateway, name: str, report: ModelReport | None, by: str) -> None:
    """Through the model's device, which knows what it came from; else to what is reported as the version before."""
    try:
        gateway.command(name, "Rollback", {"Rollback": "true"})
    except (Unreachable, NotFound) as error:
        target = _returning_to(report) if report else ""
        if not target:
            raise
        warn(f"{error}; the desired state is written instead")
        gateway.wish(name, ModelRequest(version=target, promoted=True, asked_by=by))


def _follow(gateway: Gateway, name: str, before: ModelReport | None, patience: float, as_json: bool) -> None:
    """Say what is wished now, and follow it to its end where that is asked."""
    desired = gateway.desired()
    wish = desired.models.get(name)
    if wish is None:
        raise Conflict(f"the wish for model '{name}' was taken out again by somebody else")
    if not patience:
        _say_sent(name, wish, desired, as_json)
        return
    version = (is_floating(wish.version) and _meant(gateway, name, wish.version)) or wish.version
    end = until_ended(gateway, name, version, desired.generation, before, patience, is_quiet=as_json)
    if as_json:
        say_json({"model": name, "version": version, "generation": desired.generation, "outcome": end.outcome,
                  "reason": end.reason})  # fmt: skip
    else:
        say(f"{name}@{version} {end.outcome}{': ' if end.reason else ''}{end.reason}")
    if end.outcome != Ended.SERVES:
        raise typer.Exit(REFUSED)


def _say_sent(name: str, wish: ModelRequest, desired: Desired, as_json: bool) -> None:
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
    return name, version or repository.newest(name).version


def _meant(gateway: Gateway, name: str, version: str) -> str:
    """The version of app-inference that is wished, where an alias or a range is too; "" where that cannot be asked.

    Raises NotFound when it has none, and Invalid for what is no way to say a version.
    """
    available = gateway.available(name)
    if available is None:
        return ""
    try:
        return chosen(version, available.versions, available.aliases)
    except NotFound as error:
        raise NotFound(f"model '{name}' of {gateway.service}: {error}") from error


def _check_quarantine(name: str, version: str, report: ModelReport) -> None:
    """Raise Conflict for a version that would not be tried; one that serves need not be."""
    serving = report.active.version if report.active else ""
    if version == serving or version not in report.quarantined:
        return
    why = report.quarantine_reasons.get(version, "")
    raise Conflict(f"{name}@{version} is quarantined{': ' if why else ''}{why}; --retry tries it again")


def _warn_of_absence(repository: Repository, name: str, version: str) -> None:
    """It may be on the disk of app-inference all the same."""
    if name not in repository.names():
        return
    try:
        repository.chosen(name, version)
    except NotFound:
        there = f"{name}@{version} is not in {repository.root}"
        warn(f"{there}; if that is not the folder of app-inference, all is well")


def _returning_to(report: ModelReport) -> str:
    serving = report.active.version if report.active else ""
    if report.state not in (Step.IDLE, Step.COMMIT, Step.SWITCH, Step.OBSERVE):
        return serving  # what serves all the while
    return report.previous.version if report.previous and report.previous.version != serving else ""
