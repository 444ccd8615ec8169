"""The models that pipelines use, loaded, each in its slot; what is done to those on their way; why one is missing."""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from edgex_kit.wire.errors import EdgexError

from app_inference.errors import ModelRejected
from app_inference.inference.model import Model, load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository
from app_inference.pipeline.cores import streams_for
from app_inference.pipeline.slot import ServedModel
from app_inference.settings import InferenceSection, PipelineSection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that is wanted and cannot be had."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Preparation:
    """A model that is wanted and on its way."""

    name: str
    doing: str
    since: float  # seconds, monotonic

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.since, 1)


@dataclass(frozen=True, slots=True)
class StandIn:
    """The version that serves instead of the committed one, and why."""

    version: str
    reason: str


class Starts(Protocol):
    """What is remembered of a model from one start to the next."""

    def version(self, name: str) -> str:
        """The version it starts with, "" for the newest."""

    def before(self, name: str) -> str:
        """The version that serves when that one cannot, "" for none."""

    def note(self, name: str, version: str) -> None:
        """It has started with `version`."""

    def note_return(self, name: str, version: str, reason: str) -> None:
        """`version` serves instead of the one it starts with, which cannot for this `reason`."""


class Models:
    """Slots by the model key of a pipeline."""

    def __init__(self, section: InferenceSection, repository: Repository, starts: Starts) -> None:
        self.served: dict[str, ServedModel] = {}
        self.failures: dict[str, Failure] = {}
        self.preparing: dict[str, Preparation] = {}
        self.repository = repository
        self.runtime = runtime_from(section)
        self._stand_ins: dict[str, StandIn] = {}
        self._starts = starts

    def load(self, wanted: Mapping[str, PipelineSection]) -> None:
        """Bring in what is missing of `wanted`. Blocking.

        The first call ends before any worker starts (see `model`). A model that cannot be had
        is a `Failure`, not an exception: the others serve on.
        """
        self.failures = {key: failure for key, failure in self.failures.items() if key in wanted}
        missing = sorted(wanted.keys() - self.served.keys())
        for key in missing:
            self._tell(key, f"waiting until model '{missing[0]}' is ready")
        for key in missing:
            self._load_one(key, wanted[key])
            del self.preparing[key]

    def release(self, used: Collection[str]) -> None:
        """Let go of what is not in use. A worker that still looks at a frame with such a model ends in peace: the model
        goes with its last session."""
        for key in [key for key in self.served if key not in used]:
            del self.served[key]
            log.info("model '%s' is not used any more", key)

    def status(self) -> list[dict[str, Any]]:
        """One row a model, by name."""
        rows = [{**_row(slot), **self._why(slot)} for slot in list(self.served.values())]
        preparing = dict(self.preparing)
        rows += [
            {"name": it.name, "state": "preparing", "doing": it.doing, "seconds": it.seconds}
            for it in preparing.values()
            if it.name not in self.served
        ]
        rows += [
            {"name": it.name, "state": "failed", "reason": it.reason}
            for it in list(self.failures.values())
            if it.name not in preparing
        ]
        return sorted(rows, key=lambda row: str(row["name"]))

    def _load_one(self, name: str, section: PipelineSection) -> None:
        log.info("loading model '%s'", name)
        version = self._committed(section.model)
        try:
            self._serve(name, *self._ready(name, section, version))
        except EdgexError as error:
            self._load_instead(name, section, version, str(error))

    def _load_instead(self, name: str, section: PipelineSection, version: str, reason: str) -> None:
        """The committed version cannot serve: the one before it does, as long as nobody has wished another."""
        before = self._starts.before(section.model) if version else ""
        if not before:
            self._fail(name, reason)
            return
        log.warning(
            "model '%s': version %s cannot serve, %s, the one before, is loaded: %s", name, version, before, reason
        )
        try:
            model, first_ms = self._ready(name, section, before)
        except EdgexError as error:
            self._fail(name, f"{reason}; nor can {before}, the version before: {error}")
            return
        if name in self.repository.names():
            self._starts.note_return(name, before, reason)
        self._stand_ins[name] = StandIn(before, f"{version} cannot serve: {reason}")
        self._serve(name, model, first_ms)

    def _ready(self, name: str, section: PipelineSection, version: str) -> tuple[Model, float]:
        """A warm model, of the `version` if one is given, and the ms its first answer took; raises EdgexError alone."""
        overrides = {"type": section.model_type} if section.model_type else None
        find = self.repository.version
        try:
            stored = find(section.model, version) if version else self.repository.find(section.model)
            model = load_model(stored, overrides, self.runtime, partial(self._tell, name))
            self._tell(name, "looking at a first picture")
            spent = model.warm_up()
        except EdgexError:
            raise
        except Exception as error:  # a model that breaks in our hands stays out, all others serve on
            log.exception("model '%s'", name)
            raise ModelRejected(f"{type(error).__name__}: {error}") from error
        return model, spent.infer

    def _serve(self, name: str, model: Model, first_ms: float) -> None:
        if name in self.repository.names():  # all of its versions are meant: this one was ours to choose
            self._starts.note(name, model.version)
        self.fill(name, model)
        log.info("model %s serves: %s", name, _describe(model, first_ms))
        for warning in model.warnings:
            log.warning("model '%s' %s", name, warning)

    def fill(self, name: str, model: Model) -> None:
        """Let a model serve under a name that none serves under; one that came meanwhile stays."""
        self.served.setdefault(name, ServedModel(name, model))
        self.failures.pop(name, None)

    def in_use(self, name: str) -> set[str]:
        """The versions of a model that serve, are warm, or are tried, under whatever name."""
        lineups = [slot.active.models() for slot in list(self.served.values())]
        return {model.version for models in lineups for model in models if model.name == name}

    def _committed(self, wanted: str) -> str:
        """The version that the last update of a model has left, where a pipeline names it without one; "" leaves it to
        the repository."""
        if wanted not in self.repository.names():
            return ""
        version = self._starts.version(wanted)
        is_there = version in self.repository.versions(wanted)
        return version if is_there or (version and self._starts.before(wanted)) else ""

    def _why(self, slot: ServedModel) -> dict[str, str]:
        """Why the version that serves is not the one that was committed."""
        it = self._stand_ins.get(slot.name)
        return {"reason": it.reason} if it is not None and it.version == slot.model.version else {}

    def _tell(self, name: str, doing: str) -> None:
        known = self.preparing.get(name)
        self.preparing[name] = Preparation(name, doing, known.since if known else time.monotonic())

    def _fail(self, name: str, reason: str) -> None:
        log.warning("model '%s' cannot serve: %s", name, reason)
        if name not in self.served:  # an update may have brought it back meanwhile
            self.failures[name] = Failure(name, reason)


def wanted_models(pipelines: Mapping[str, PipelineSection]) -> dict[str, PipelineSection]:
    """The models that enabled pipelines name, by their key."""
    return {section.model_key: section for section in pipelines.values() if section.enabled}


def runtime_from(section: InferenceSection) -> Runtime:
    """The configured way to run, with the choices made that were left to us."""
    streams = streams_for(section)
    return Runtime(
        device=section.device,
        threads=section.threads or streams,
        streams=streams,
        cache_dir=section.cache_path,
        precision=section.precision,
    )


def _describe(model: Model, infer_ms: float) -> str:
    devices = ",".join(model.execution_devices)
    width, height = model.input_size
    return (
        f"{model.name} {model.version} ({model.digest[:12]}), {model.task} at {width}x{height}, "
        f"{model.precision} on {devices}, its first answer in {infer_ms:.0f} ms"
    )


def _row(slot: ServedModel) -> dict[str, Any]:
    model = slot.model
    return {
        "name": slot.name,
        "state": "serving",
        "model": model.name,
        "version": model.version,
        "digest": model.digest[:12],
        "task": model.task,
        "inputSize": list(model.input_size),
        "precision": model.precision,
        "devices": list(model.execution_devices),
        "labels": len(model.labels),
    }
