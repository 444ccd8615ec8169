"""Every captured frame is counted once more, as published or as dropped for a reason: the sum is always right."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

RATE = "rate"  # not due: the camera is faster than the requested rate
BUSY = "busy"  # a newer frame came before this one was taken
DAMAGED = "damaged"  # no whole picture
SNAPSHOT = "snapshot"  # captured for a snapshot while streaming is off
FAILED = "failed"  # the source broke off while the picture was read


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of the frames of one camera; captured == published + sum of dropped."""

    captured: int = 0
    published: int = 0  # passed on and not replaced since
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # by reason


class FrameCounter:
    """Counts; any thread reads and writes, and no reader sees a frame counted only on one side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = 0
        self._published = 0
        self._dropped: dict[str, int] = {}

    def count_published(self, *, replaced: bool) -> None:
        """A frame was captured and passed on; it may have `replaced` one that was not yet taken."""
        with self._lock:
            self._captured += 1
            if replaced:  # the unpublished frame that was overwritten counts as dropped
                self._drop(BUSY)
            else:
                self._published += 1

    def count_dropped(self, reason: str) -> None:
        """A frame was captured and dropped."""
        with self._lock:
            self._captured += 1
            self._drop(reason)

    def count_withdrawn(self, reason: str) -> None:
        """A frame that was passed on was not published after all (too large, no broker)."""
        with self._lock:
            self._published -= 1
            self._drop(reason)

    def read(self) -> Counters:
        """All counts of one instant."""
        with self._lock:
            return Counters(self._captured, self._published, MappingProxyType(dict(self._dropped)))

    def _drop(self, reason: str) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + 1
