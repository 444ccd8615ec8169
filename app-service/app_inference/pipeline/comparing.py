"""Which frames both versions of a rollout analyse, and what came of it."""

import threading
import time
from collections import deque

from app_inference.vision.comparison import Comparison

KEPT = 2000  # frames nobody has taken yet; the oldest goes


class Comparisons:
    """Comparisons of one model's versions, made by workers and taken by the gate; safe on any thread.

    The second analysis of a frame takes a share of one core's time at the most: after each the next waits until its
    share has been made up for.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._next = 0.0  # time.monotonic()
        self._kept: deque[tuple[str, Comparison]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def start(self, share: float) -> None:
        """Forget what was compared and use `share` (0..1) of a core from now on; 0 compares nothing."""
        with self._lock:
            self._share, self._next = share, 0.0
            self._kept.clear()

    def is_due(self) -> bool:
        """Whether the next frame is to be analysed by both versions."""
        return self._share > 0 and time.monotonic() >= self._next

    def spend(self, seconds: float) -> None:
        """Note what a second analysis took."""
        with self._lock:
            if self._share > 0:
                self._next = max(self._next, time.monotonic()) + seconds * (1 / self._share - 1)

    def add(self, camera: str, seen: Comparison) -> None:
        with self._lock:
            self._kept.append((camera, seen))

    def take(self) -> list[tuple[str, Comparison]]:
        """What was compared since the last time, by camera, the oldest first."""
        with self._lock:
            taken = list(self._kept)
            self._kept.clear()
        return taken
