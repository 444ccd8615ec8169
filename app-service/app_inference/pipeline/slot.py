"""The model in use under one name, and during an update the one that is to follow it.

A line-up is replaced, never changed: workers take a new one up between two frames. Each frame has a turn: the model
whose answer is published, one that steps in when that fails, and perhaps one whose answer is only compared.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from app_inference.inference.model import Model, Session
from app_inference.pipeline.samples import WINDOW, Evidence, Sample


@dataclass(frozen=True, slots=True)
class ActiveSet:
    """Which version does what."""

    serving: Model
    warm: Model | None = None  # the version before, ready to step in while the serving one is observed
    candidate: Model | None = None
    is_canary: Callable[[str], bool] | None = None  # cameras the candidate serves; None: it only looks on

    def models(self) -> list[Model]:
        return [model for model in (self.serving, self.warm, self.candidate) if model is not None]

    @property
    def is_update(self) -> bool:
        """Whether two versions are being compared."""
        return self.warm is not None or self.candidate is not None


@dataclass(frozen=True, slots=True)
class Assignment:
    """What looks at one frame."""

    first: Model
    fallback: Model | None = None
    shadow: Model | None = None
    is_checked: bool = False  # answers are searched for NaN; only while versions are compared


class ServedModel:
    """Holds the line-up; every worker thread gets a session of its own with each model in it."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.threshold: float | None = None  # 0..1, live; a pipeline's own goes before it
        self._lineup = ActiveSet(model)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._evidence: dict[tuple[str, str], Evidence] = {}  # version, camera
        self._sessions: WeakKeyDictionary[Session, str] = WeakKeyDictionary()  # the version of its model
        self._agreed: deque[float] = deque(maxlen=WINDOW)

    @property
    def model(self) -> Model:
        """The serving model."""
        return self._lineup.serving

    @property
    def active(self) -> ActiveSet:
        return self._lineup

    def replace(self, active: ActiveSet) -> ActiveSet:
        """Follow `active` from the next frame on; gives back the one before. Evidence of models gone is dropped."""
        before, self._lineup = self._lineup, active
        kept = {model.version for model in active.models()}
        with self._lock:
            self._evidence = {key: it for key, it in self._evidence.items() if key[0] in kept}
        return before

    def turn(self, camera: str) -> Assignment:
        """Who looks at a frame of `camera` now."""
        active = self._lineup
        if active.candidate is None:
            return Assignment(active.serving, fallback=active.warm, is_checked=active.is_update)
        if active.is_canary is not None and active.is_canary(camera):
            return Assignment(active.candidate, fallback=active.serving, is_checked=True)
        return Assignment(active.serving, shadow=None if active.is_canary else active.candidate, is_checked=True)

    def session(self, model: Model) -> Session:
        """This thread's session with `model`; those with models that left the line-up are let go."""
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
        """Threads still in a frame that they began with `model` before `since` (time.perf_counter())."""
        with self._lock:
            began = [session.busy_since for session, version in self._sessions.items() if version == model.version]
        return sum(at is not None and at < since for at in began)

    def compare(self, agreed: float | None) -> None:
        """Note how far a candidate that only looks on said the same as the serving version; None says nothing."""
        if agreed is not None:
            with self._lock:
                self._agreed.append(agreed)

    @property
    def agreement(self) -> float | None:
        """The mean over the last frames that a candidate looked at beside the serving version; None without any."""
        with self._lock:
            return sum(self._agreed) / len(self._agreed) if self._agreed else None

    def observe(self, model: Model, camera: str, sample: Sample) -> None:
        """Note what `model` did with a frame of `camera`."""
        with self._lock:
            self._evidence.setdefault((model.version, camera), Evidence()).add(sample)

    def evidence(self, model: Model, cameras: Iterable[str] | None = None) -> Evidence:
        """All that is noted of `model`, over some cameras or every one."""
        wanted = None if cameras is None else set(cameras)
        merged = Evidence(capacity=None)
        with self._lock:
            for (version, camera), evidence in self._evidence.items():
                if version == model.version and (wanted is None or camera in wanted):
                    merged.merge(evidence)
        return merged

    def cameras(self, model: Model) -> set[str]:
        """The cameras `model` has looked at."""
        with self._lock:
            return {camera for version, camera in self._evidence if version == model.version}

    def forget(self, cameras: Set[str]) -> None:
        """Cameras are gone."""
        with self._lock:
            self._evidence = {key: it for key, it in self._evidence.items() if key[1] not in cameras}

    def start_over(self, model: Model) -> None:
        """Forget what is noted of `model`: it is about to be tried."""
        with self._lock:
            self._evidence = {key: it for key, it in self._evidence.items() if key[0] != model.version}
            self._agreed.clear()
