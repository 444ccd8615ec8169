"""The models that pipelines use: those that serve, those that are being loaded, and why one is missing."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from edgex_kit.wire.errors import EdgexError

from app_inference.errors import ModelRejected
from app_inference.inference.model import Model, Session, load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository
from app_inference.pipeline.comparing import Comparisons
from app_inference.pipeline.samples import Evidence, Sample
from app_inference.settings import InferenceSection, PipelineSection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveSet:
    """Which version does what. Immutable: a new set replaces it, and a worker reads it once a frame."""

    serving: Model
    warm: Model | None = None  # the version before, as a fallback while the serving one is observed
    candidate: Model | None = None
    is_canary: Callable[[str], bool] | None = None  # cameras the candidate serves; None: it runs as a shadow

    def models(self) -> list[Model]:
        return [model for model in (self.serving, self.warm, self.candidate) if model is not None]

    @property
    def is_update(self) -> bool:
        """Whether two versions are being compared."""
        return self.warm is not None or self.candidate is not None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The models that analyse one frame."""

    first: Model  # its result is published
    fallback: Model | None = None  # its result is published when the first fails
    second: Model | None = None  # its result is only compared
    is_trial: bool = False  # the first is the candidate, the second the outgoing version
    is_checked: bool = False  # outputs are searched for NaN; only while versions are compared


class ServedModel:
    """The active set under one name; every worker thread has a session of its own with each model in it."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.threshold: float | None = None  # 0..1, may change at any time; a pipeline's own overrides it
        self._lineup = ActiveSet(model)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._evidence: dict[tuple[str, str], Evidence] = {}  # version, camera
        self._sessions: WeakKeyDictionary[Session, str] = WeakKeyDictionary()  # the version of its model
        self.comparisons = Comparisons()

    @property
    def model(self) -> Model:
        """The serving model."""
        return self._lineup.serving

    @property
    def active(self) -> ActiveSet:
        return self._lineup

    def replace(self, active: ActiveSet) -> ActiveSet:
        """Use `active` from the next frame on, and return the one before. Evidence of models gone is dropped."""
        before, self._lineup = self._lineup, active
        kept = {model.version for model in active.models()}
        with self._lock:
            self._evidence = {key: it for key, it in self._evidence.items() if key[0] in kept}
        return before

    def assign(self, camera: str) -> Assignment:
        """The models for a frame of `camera` now."""
        active = self._lineup
        if active.candidate is None:
            return Assignment(
                active.serving, active.warm, self._second(active.warm), active.is_update, active.is_update
            )
        if active.is_canary is None:
            return Assignment(active.serving, second=self._second(active.candidate), is_checked=True)
        if active.is_canary(camera):
            return Assignment(active.candidate, active.serving, self._second(active.serving), True, True)
        return Assignment(active.serving, is_checked=True)

    def _second(self, model: Model | None) -> Model | None:
        """`model`, if this frame is to be analysed by both versions."""
        return model if self.comparisons.is_due() else None

    def session(self, model: Model) -> Session:
        """This thread's session with `model`; those with models that are no longer active are released."""
        held: dict[Model, Session] = self._own.__dict__.setdefault("held", {})
        found = held.get(model)
        if found is None:
            current = self._lineup.models()
            for gone in [it for it in held if it not in current]:
                del held[gone]
            found = held[model] = model.session()
            with self._lock:
                self._sessions[found] = model.version
        return found

    def busy(self, model: Model, since: float) -> int:
        """How many threads still analyse a frame that they began with `model` before `since` (time.perf_counter())."""
        with self._lock:
            began = [session.busy_since for session, version in self._sessions.items() if version == model.version]
        return sum(at is not None and at < since for at in began)

    def observe(self, model: Model, camera: str, sample: Sample) -> None:
        """Record what `model` found in a frame of `camera`."""
        with self._lock:
            self._evidence.setdefault((model.version, camera), Evidence()).add(sample)

    def evidence(self, model: Model, cameras: Iterable[str] | None = None) -> Evidence:
        """All that is recorded of `model`, over some cameras or every one."""
        wanted = None if cameras is None else set(cameras)
        merged = Evidence(capacity=None)
        with self._lock:
            for (version, camera), evidence in self._evidence.items():
                if version == model.version and (wanted is None or camera in wanted):
                    merged.merge(evidence)
        return merged

    def cameras(self, model: Model) -> set[str]:
        """The cameras `model` has analysed."""
        with self._lock:
            return {camera for version, camera in self._evidence if version == model.version}

    def forget(self, cameras: Set[str]) -> None:
        """Drop the evidence of cameras that are deleted."""
        with self._lock:
            self._evidence = {key: it for key, it in self._evidence.items() if key[1] not in cameras}

    def start_over(self, model: Model) -> None:
        """Drop what is recorded of `model`: its trial begins."""
        with self._lock:
            self._evidence = {key: it for key, it in self._evidence.items() if key[0] != model.version}


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that is wanted and cannot serve."""

    name: str
    reason: str
    files: frozenset[tuple[str, int, int]] = frozenset()  # of its folder, when it failed


@dataclass(frozen=True, slots=True)
class Preparation:
    """A model that is being loaded."""

    name: str
    doing: str
    since: float  # seconds, monotonic

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.since, 1)


@dataclass(frozen=True, slots=True)
class FallbackVersion:
    """The version that serves instead of the committed one, and why."""

    version: str
    reason: str


class Starts(Protocol):
    """What is kept of a model from one start to the next."""

    def version(self, name: str) -> str:
        """The version it starts with, "" for the newest."""

    def before(self, name: str) -> str:
        """The version that serves when that one cannot, "" for none."""

    def note(self, name: str, version: str) -> None:
        """It has started with `version`."""

    def note_return(self, name: str, version: str, reason: str) -> None:
        """`version` serves instead of the one it starts with, which cannot for this `reason`."""


class Models:
    """Served models by the model key of a pipeline."""

    def __init__(self, section: InferenceSection, repository: Repository, starts: Starts) -> None:
        self.served: dict[str, ServedModel] = {}
        self.failures: dict[str, Failure] = {}
        self.preparing: dict[str, Preparation] = {}
        self.repository = repository
        self.runtime = runtime_from(section)
        self._fallbacks: dict[str, FallbackVersion] = {}
        self._starts = starts
        self._arriving: dict[str, frozenset[tuple[str, int, int]]] = {}

    def arrived(self, wanted: Mapping[str, PipelineSection]) -> set[str]:
        """The models that failed, whose files have changed since, but not since the last call: worth another try.

        A folder that is mounted late, or a version that is copied now, arrives file by file. Blocking.
        """
        found = set()
        for name, failure in list(self.failures.items()):
            files = self._files(wanted[name].model) if name in wanted else failure.files
            if files not in (failure.files, frozenset()) and files == self._arriving.get(name):
                found.add(name)
            self._arriving[name] = files
        return found

    def load(self, wanted: Mapping[str, PipelineSection], only: Collection[str] | None = None) -> None:
        """Load what is missing of `wanted`, or of `only` those. Blocking.

        The first call ends before any worker starts (see `inference.model`). A model that cannot serve is a `Failure`,
        not an exception: the others go on.
        """
        self.failures = {key: failure for key, failure in self.failures.items() if key in wanted}
        missing = sorted(key for key in wanted.keys() - self.served.keys() if only is None or key in only)
        for key in missing:
            self._tell(key, f"waiting until model '{missing[0]}' is ready")
        for key in missing:
            self._load_one(key, wanted[key])
            del self.preparing[key]

    def release(self, used: Collection[str]) -> None:
        """Release what is not in use. A worker that still analyses a frame with it is not disturbed: the model's memory
        goes with the last session."""
        for key in [key for key in self.served if key not in used]:
            del self.served[key]
            log.info("model '%s' is not used any more", key)

    def status(self) -> list[dict[str, Any]]:
        """One row a model, by name."""
        rows = [{**_row(it), **self._why(it)} for it in list(self.served.values())]
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
        version = ""
        try:
            version = self._committed(section.model)
            self._serve(name, *self._ready(name, section, version))
        except EdgexError as error:
            self._load_instead(name, section, version, str(error))

    def _load_instead(self, name: str, section: PipelineSection, version: str, reason: str) -> None:
        """The committed version cannot serve: load the one before it, until another is requested."""
        before = self._starts.before(section.model) if version else ""
        if not before:
            self._fail(name, section, reason)
            return
        log.warning(
            "model '%s': version %s cannot serve, %s, the one before, is loaded: %s", name, version, before, reason
        )
        try:
            model, first_ms = self._ready(name, section, before)
        except EdgexError as error:
            self._fail(name, section, f"{reason}; nor can {before}, the version before: {error}")
            return
        if name in self.repository.names():
            self._starts.note_return(name, before, reason)
        self._fallbacks[name] = FallbackVersion(before, f"{version} cannot serve: {reason}")
        self._serve(name, model, first_ms)

    def _ready(self, name: str, section: PipelineSection, version: str) -> tuple[Model, float]:
        """A warm model, of the `version` if given, and the ms its first inference took; raises only EdgexError."""
        overrides = {"type": section.model_type} if section.model_type else None
        find = self.repository.version
        try:
            stored = find(section.model, version) if version else self.repository.find(section.model)
            model = load_model(stored, overrides, self.runtime, partial(self._tell, name))
            self._tell(name, "analysing a first picture")
            spent = model.warm_up()
        except EdgexError:
            raise
        except Exception as error:  # an unexpected error costs this model alone
            log.exception("model '%s'", name)
            raise ModelRejected(f"{type(error).__name__}: {error}") from error
        return model, spent.infer

    def _serve(self, name: str, model: Model, first_ms: float) -> None:
        if name in self.repository.names():  # no version is configured: this one was chosen here
            self._starts.note(name, model.version)
        self.fill(name, model)
        log.info("model %s serves: %s", name, _describe(model, first_ms))
        for warning in model.warnings:
            log.warning("model '%s' %s", name, warning)

    def fill(self, name: str, model: Model) -> None:
        """Let a model serve under a name that has none; one that was loaded meanwhile stays."""
        self.served.setdefault(name, ServedModel(name, model))
        self.failures.pop(name, None)

    def in_use(self, name: str) -> set[str]:
        """The versions of a model that serve, are warm, or are candidates, under any name."""
        active = [it.active.models() for it in list(self.served.values())]
        return {model.version for models in active for model in models if model.name == name}

    def _committed(self, wanted: str) -> str:
        """The version that the last update committed, for a model named without one; "" lets the repository choose."""
        if wanted not in self.repository.names():
            return ""
        return self._starts.version(wanted)

    def _why(self, served: ServedModel) -> dict[str, str]:
        """Why the version that serves is not the committed one."""
        it = self._fallbacks.get(served.name)
        return {"reason": it.reason} if it is not None and it.version == served.model.version else {}

    def _tell(self, name: str, doing: str) -> None:
        known = self.preparing.get(name)
        self.preparing[name] = Preparation(name, doing, known.since if known else time.monotonic())

    def _files(self, model: str) -> frozenset[tuple[str, int, int]]:
        """Name, time of change in ns and size of every file that may make up a model."""
        path = Path(model).expanduser()
        root = path if path.exists() else self.repository.root / model.partition("@")[0]
        try:
            paths = [root, *root.rglob("*")]
            return frozenset((str(it), it.stat().st_mtime_ns, it.stat().st_size) for it in paths if it.is_file())
        except OSError:  # it changes while it is read
            return frozenset()

    def _fail(self, name: str, section: PipelineSection, reason: str) -> None:
        log.warning("model '%s' cannot serve: %s", name, reason)
        if name not in self.served:  # an update may have brought it back meanwhile
            self.failures[name] = Failure(name, reason, self._files(section.model))


def wanted_models(pipelines: Mapping[str, PipelineSection]) -> dict[str, PipelineSection]:
    """The models that enabled pipelines name, by their key."""
    return {section.model_key: section for section in pipelines.values() if section.enabled}


def runtime_from(section: InferenceSection) -> Runtime:
    """How models run, with the choices that the configuration leaves to the service."""
    streams = section.stream_count
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
        f"{model.precision} on {devices}, its first inference in {infer_ms:.0f} ms"
    )


def _row(served: ServedModel) -> dict[str, Any]:
    model = served.model
    return {
        "name": served.name,
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
