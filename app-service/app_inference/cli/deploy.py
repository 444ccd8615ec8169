"""`deploy`, `rollback`, `promote` and `pause`: requests to the running system."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import typer
from edgex_kit.wire.errors import Conflict, Invalid, NotFound, Unreachable

from app_inference.cli import command as o
from app_inference.cli.client import Client
from app_inference.cli.output import say, say_json, warn
from app_inference.cli.watch import Ended, until_ended
from app_inference.models.repository import Repository
from app_inference.models.versions import chosen, is_version
from app_inference.rollout.desired import CanaryOptions, GateOptions, ModelRequest, ObserveOptions
from app_inference.rollout.preview import pinned_pipelines
from app_inference.rollout.reported import ModelReport
from app_inference.rollout.steps import Step

StrategyOption = Annotated[
    Literal["swap", "canary", "shadow"], typer.Option(help="swap at once, canary for some cameras first, or shadow.")
]
Percent = Annotated[float, typer.Option(min=0.01, max=100, help="Share of the cameras in the canary.")]
Cameras = Annotated[str, typer.Option(help="Cameras in the canary, comma separated.")]
MinFrames = Annotated[int, typer.Option(min=1, help="Frames with objects that the gate observes at least.")]
Hold = Annotated[float, typer.Option(min=0, help="Seconds that the gate observes at least.")]
OnInconclusive = Annotated[
    Literal["hold", "promote", "rollback"],
    typer.Option(help="When the gate proves neither good nor bad; hold: you decide."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the outcome; exit code 1 when it is rolled back.")]
Patience = Annotated[float, typer.Option("--timeout", min=1, help="Seconds --wait waits.")]
By = Annotated[str, typer.Option("--by", help="Who asks, for the audit log.")]
Via = Annotated[
    Literal["keeper", "command"],
    typer.Option(help="keeper writes the desired state, command asks the model's device through core-command."),
]


OBSERVE, LIMITS = ObserveOptions(), GateOptions()


def _limit(text: str, *, least: float = 0.0, most: float | None = 1.0) -> Any:
    return typer.Option(min=least, max=most, help=text, rich_help_panel="Limits of the gate")


CompareShare = Annotated[float, _limit("Of a core, for frames that both versions analyse; 0: none.")]
MinAgreement = Annotated[float, _limit("F1 of the objects that both versions find; 0 for a version that differs.")]
MaxLabelLoss = Annotated[float, _limit("Share of the objects of one label that it may lose.")]
MaxScoreShift = Annotated[float, _limit("Share by which scores may be higher or lower on the average.")]
MaxBoxShift = Annotated[float, _limit("Share of a box by which boxes may lie aside or be larger on the average.")]
MaxErrorRate = Annotated[float, _limit("Share of the frames that may fail.")]
MaxP99Ratio = Annotated[float, _limit("How many times as long inference may take.", most=None, least=0.01)]
MaxCountRatio = Annotated[float, _limit("Objects a frame, where none could be compared.", most=None, least=1.01)]
MaxClassShift = Annotated[
    float, _limit("Stability index of labels, where none could be compared.", most=None, least=0.01)
]


@o.command
def deploy(
    model: o.WantedModel,
    strategy: StrategyOption = "swap",
    percent: Percent = 25.0,
    cameras: Cameras = "",
    min_frames: MinFrames = OBSERVE.min_frames,
    hold: Hold = OBSERVE.hold_seconds,
    on_inconclusive: OnInconclusive = "hold",
    compare_share: CompareShare = LIMITS.compare_share,
    min_agreement: MinAgreement = LIMITS.min_agreement,
    max_label_loss: MaxLabelLoss = LIMITS.max_label_loss,
    max_score_shift: MaxScoreShift = LIMITS.max_score_shift,
    max_box_shift: MaxBoxShift = LIMITS.max_box_shift,
    max_error_rate: MaxErrorRate = LIMITS.max_error_rate,
    max_p99_ratio: MaxP99Ratio = LIMITS.max_p99_ratio,
    max_count_ratio: MaxCountRatio = LIMITS.max_count_ratio,
    max_class_shift: MaxClassShift = LIMITS.max_class_shift,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Threshold instead of the model's own.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try a quarantined version again.")] = False,
    allow_label_change: Annotated[bool, typer.Option("--allow-label-change", help="Accept other labels.")] = False,
    hold_on_fail: Annotated[bool, typer.Option("--hold-on-fail", help="Stop instead of rolling back.")] = False,
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
    """Request a model version; app-inference follows while frames flow."""
    repository = Repository(models_dir)
    name, version = _requested(repository, model)
    request = ModelRequest(
        version=version,
        strategy=strategy,
        canary=canary(percent, cameras),
        observe=ObserveOptions(min_frames=min_frames, hold_seconds=hold, on_inconclusive=on_inconclusive),
        gate=GateOptions(
            compare_share=compare_share,
            min_agreement=min_agreement,
            max_label_loss=max_label_loss,
            max_score_shift=max_score_shift,
            max_box_shift=max_box_shift,
            max_error_rate=max_error_rate,
            max_p99_ratio=max_p99_ratio,
            max_count_ratio=max_count_ratio,
            max_class_shift=max_class_shift,
        ),
        on_fail="hold" if hold_on_fail else "rollback",
        threshold=threshold,
        retry=retry,
        allow_label_change=allow_label_change,
        asked_by=by,
    )
    client = Client(keeper_url=keeper_url, command_url=command_url, service=service)
    client.check_service()
    before = client.report(name)
    resolved = _resolved(client, name, version)
    if before is not None and not retry:
        _check_quarantine(name, resolved, before)
    if via == "command":
        client.command(name, "Deploy", {"Deploy": msgspec.json.encode(request).decode()})
    else:
        if not resolved:
            _warn_of_absence(repository, name, version)
        client.request(name, request)
        if before is None:
            warn(f"{service} has reported no model '{name}': the request waits until a pipeline names it")
    _finish(client, name, before, timeout if wait else 0.0, as_json)


@o.command
def rollback(
    name: o.ModelName,
    to: Annotated[str, typer.Option(help="This version instead of the previous one.")] = "",
    by: By = "edgex-models",
    wait: Wait = False,
    timeout: Patience = 600.0,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    command_url: o.CommandUrl = o.COMMAND_URL,
    service: o.Service = o.SERVICE,
    as_json: o.AsJson = False,
) -> None:
    """Go back to the previous version: at once while it is still loaded."""

    def instead() -> ModelRequest | None:
        target = _previous(before) if before else ""
        return ModelRequest(version=target, promoted=True, asked_by=by) if target else None

    client = Client(keeper_url=keeper_url, command_url=command_url, service=service)
    client.check_service()
    before = client.report(name)
    if to:
        _resolved(client, name, to)
        client.request(name, ModelRequest(version=to, promoted=True, asked_by=by))
    else:
        _command_or_request(client, name, "Rollback", instead)
    _finish(client, name, before, timeout if wait else 0.0, as_json)


@o.command
def promote(
    name: o.ModelName,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    command_url: o.CommandUrl = o.COMMAND_URL,
    service: o.Service = o.SERVICE,
    by: By = "edgex-models",
) -> None:
    """Approve the candidate manually."""

    def instead() -> ModelRequest | None:
        now = client.desired().models.get(name)
        return now and msgspec.structs.replace(now, promoted=True, asked_by=by)

    client = Client(keeper_url=keeper_url, command_url=command_url, service=service)
    client.check_service()
    _command_or_request(client, name, "Promote", instead)
    say(f"{name}: promoted")


@o.command
def pause(
    name: o.ModelName,
    off: Annotated[bool, typer.Option("--off", help="Continue.")] = False,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
    by: By = "edgex-models",
) -> None:
    """Pause a rollout, or continue it."""
    client = Client(keeper_url=keeper_url, service=service)
    client.check_service()
    now = client.desired().models.get(name)
    if now is None:
        raise NotFound(f"no version of model '{name}' is requested")
    client.request(name, msgspec.structs.replace(now, paused=not off, asked_by=by))
    say(f"{name}: {'continues' if off else 'paused'}")


def canary(percent: float, cameras: str) -> CanaryOptions:
    """From the options; `cameras` is comma separated."""
    return CanaryOptions(percent=percent, cameras=tuple(filter(None, map(str.strip, cameras.split(",")))))


def _command_or_request(client: Client, name: str, command: str, instead: Callable[[], ModelRequest | None]) -> None:
    """Command the model's device; where it cannot be reached, write what `instead` returns as the desired state."""
    try:
        client.command(name, command, {command: "true"})
    except (Unreachable, NotFound) as error:
        request = instead()
        if request is None:
            raise
        warn(f"{error}; the desired state is written instead")
        client.request(name, request)


def _finish(client: Client, name: str, before: ModelReport | None, patience: float, as_json: bool) -> None:
    """Print what is requested now, or with `patience` in seconds, wait for its outcome."""
    desired = client.desired()
    request = desired.models.get(name)
    if request is None:
        raise Conflict(f"somebody else has removed the request for model '{name}'")
    if not patience:
        if as_json:
            say_json({"model": name, "generation": desired.generation, "request": request})
        else:
            what = f"{name}@{request.version} ({request.strategy})"
            say(f"generation {desired.generation} requests {what}; see `edgex-models watch {name}`")
        return
    if pinned := _pinned(client, name):
        warn(f"nothing follows it: {pinned}; change the pipeline's Model")
        raise typer.Exit(o.REFUSED)
    version = (not is_version(request.version) and _resolved(client, name, request.version)) or request.version
    end = until_ended(client, name, version, desired, before, patience, is_quiet=as_json)
    if as_json:
        say_json({"model": name, "version": version, "generation": desired.generation, "outcome": end.outcome,
                  "reason": end.reason})  # fmt: skip
    else:
        say(f"{name}@{version} {end.outcome}{': ' if end.reason else ''}{end.reason}")
    if end.outcome != Ended.SERVES:
        raise typer.Exit(o.REFUSED)


def _pinned(client: Client, name: str) -> str:
    """Which pipelines keep to a version of their own, if all that use a model do; empty where one follows requests."""
    try:
        return ", ".join(pinned_pipelines(name, client.status()))
    except Unreachable:
        return ""


def _requested(repository: Repository, model: str) -> tuple[str, str]:
    """Name and version; the newest version on this disk when none is given."""
    name, _, version = model.partition("@")
    if "/" in name:
        raise Invalid(f"{model}: a model is deployed by its name; add the file with `edgex-models add`")
    return name, version or repository.newest(name).version


def _resolved(client: Client, name: str, version: str) -> str:
    """The version that app-inference would take for a version, alias or range; "" where its device does not answer.

    Raises NotFound when it has none, and Invalid for text that is no version, alias or range.
    """
    available = client.available(name)
    if available is None:
        return ""
    try:
        return chosen(version, available.versions, available.aliases)
    except NotFound as error:
        raise NotFound(f"model '{name}' of {client.service}: {error}") from error


def _check_quarantine(name: str, version: str, report: ModelReport) -> None:
    """Raise Conflict for a version that would not be tried; the one that serves need not be."""
    serving = report.active.version if report.active else ""
    if version == serving or version not in report.quarantined:
        return
    why = report.quarantine_reasons.get(version, "")
    raise Conflict(f"{name}@{version} is quarantined{': ' if why else ''}{why}; --retry tries it again")


def _warn_of_absence(repository: Repository, name: str, version: str) -> None:
    """The version may be on the disk of app-inference all the same."""
    if name not in repository.names():
        return
    try:
        repository.chosen(name, version)
    except NotFound:
        warn(f"{name}@{version} is not in {repository.root}; app-inference may read another folder")


def _previous(report: ModelReport) -> str:
    """The version to go back to; "" if there is none."""
    serving = report.active.version if report.active else ""
    if report.state not in (Step.IDLE, Step.COMMIT, Step.SWITCH, Step.OBSERVE):
        return serving  # the candidate does not serve yet
    return report.previous.version if report.previous and report.previous.version != serving else ""
