"""Results on their way out. They are few and small, so unlike frames they wait while the broker is away."""

import logging
import threading
from collections import deque

from edgex_kit.bus import Bus
from edgex_kit.metrics import Counter, Gauge

log = logging.getLogger(__name__)

AT_LEAST_ONCE = 1  # MQTT quality of service: a result written to a dying connection is sent again


class Outbox:
    """Sends in order, at once or when the broker is back; beyond `size` waiting results the oldest goes, counted."""

    def __init__(self, bus: Bus, size: int, dropped: Counter, waiting: Gauge) -> None:
        self._bus = bus
        self._size = size
        self._dropped = dropped
        self._gauge = waiting
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, bytes]] = deque()
        bus.on_connected(self.flush)

    def send(self, topic: str, data: bytes) -> None:
        """Publish, or keep for later. Any thread may call."""
        with self._lock:
            if not self._waiting and self._bus.publish(topic, data, qos=AT_LEAST_ONCE) is not None:
                return
            if len(self._waiting) >= self._size:
                self._waiting.popleft()
                self._dropped.add()
            self._waiting.append((topic, data))
            self._gauge.set(len(self._waiting))

    def flush(self) -> None:
        """Send what has waited, as far as the broker takes it."""
        with self._lock:
            held = len(self._waiting)
            while self._waiting and self._bus.publish(*self._waiting[0], qos=AT_LEAST_ONCE) is not None:
                self._waiting.popleft()
            self._gauge.set(len(self._waiting))
            if held:
                log.info("%d results had waited for the broker, %d still wait", held, len(self._waiting))
