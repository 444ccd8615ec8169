"""Cameras whose pictures take too long to decode are suspended, and tried again with one picture after a while.

Time is processor time of the decoding thread, so that a busy machine suspends nobody.
"""

import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

from edgex_kit.supervision import Backoff
from edgex_kit.wire.errors import Unavailable

RETRY = Backoff(first=10.0, factor=2.0, most=600.0, jitter=0.0)


class TooSlow(Unavailable):
    """Pictures of this camera are not decoded for now."""


@dataclass(slots=True)
class _Suspended:
    reason: str
    until: float  # seconds, monotonic
    times: int = 1
    is_tried: bool = False  # one picture is being decoded


class Suspension:
    """Which cameras are suspended. Any thread may call."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s  # 0: no camera is suspended
        self._lock = threading.Lock()
        self._suspended: dict[str, _Suspended] = {}
        self._decoding: set[int] = set()  # threads

    @contextmanager
    def decoding(self, camera: str) -> Iterator[None]:
        """Around the decoding of a picture. Raises TooSlow at once while the camera is suspended, and afterwards when
        this picture took too long; an error of the block goes before that."""
        self._admit(camera)
        thread, started = threading.get_ident(), time.thread_time()
        self._decoding.add(thread)
        try:
            yield
        finally:
            self._decoding.discard(thread)
            spent = time.thread_time() - started
            reason = self._judge(camera, spent)
        if reason:
            raise TooSlow(reason)

    def is_decoding(self, thread: int | None) -> bool:
        """Whether a thread (its `ident`) is decoding a picture."""
        return thread in self._decoding

    def forget(self, cameras: Set[str]) -> None:
        """Drop cameras that are deleted."""
        with self._lock:
            for camera in cameras:
                self._suspended.pop(camera, None)

    def _admit(self, camera: str) -> None:
        if not self._suspended:  # no lock on the usual way
            return
        with self._lock:
            known = self._suspended.get(camera)
            if known is None:
                return
            if known.is_tried or time.monotonic() < known.until:
                raise TooSlow(known.reason)
            known.is_tried = True

    def _judge(self, camera: str, spent: float) -> str:
        """Why the camera is suspended; empty when it is not."""
        is_slow = 0 < self._limit_s < spent
        if not is_slow and not self._suspended:
            return ""
        with self._lock:
            known = self._suspended.get(camera)
            if not is_slow:
                self._suspended.pop(camera, None)
                return ""
            times = known.times + 1 if known is not None and known.is_tried else 1
            delay = RETRY.first * min(RETRY.factor ** (times - 1), RETRY.most / RETRY.first)
            what = f"decoding a picture took {spent:.1f} s of CPU, Inference.MaxDecodeTime is {self._limit_s:g} s"
            reason = f"{what}; its next pictures are dropped, one is tried after {delay:.0f} s"
            self._suspended[camera] = _Suspended(reason, time.monotonic() + delay, times)
            return reason
