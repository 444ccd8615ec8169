"""Results on their way out. They are few and small, so unlike frames they wait while the broker is away.

Each is sent with quality of service 1, and at most WINDOW of them without the broker's receipt. Those the MQTT client
sends again by itself once it is connected anew; until they have arrived no newer one is sent, so the order holds.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator

from edgex_kit.bus.bus import Bus, Sending
from edgex_kit.bus.queues import Latest
from edgex_kit.service.metrics import Counter, Gauge

log = logging.getLogger(__name__)

AT_LEAST_ONCE = 1  # MQTT quality of service
WINDOW = 20  # results without a receipt; as many as paho keeps in flight (max_inflight_messages)
RETRY = 0.01  # seconds between two looks at whether the broker takes more; a receipt wakes nobody
RETRY_AWAY = 0.2  # seconds, while there is no broker
LAST_WAIT = 3.0  # seconds at the end; workers and REST take theirs too, and Docker kills what is there after ten


class ResultQueue:
    """Sends in order, at once or when the broker is back; beyond `size` waiting results the oldest goes, counted."""

    def __init__(self, bus: Bus, size: int, dropped: Counter, waiting: Gauge) -> None:
        self._bus = bus
        self._size = size
        self._dropped = dropped
        self._gauge = waiting
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._flying: deque[Sending] = deque()  # written to the connection, receipt outstanding
        self._losses = bus.losses  # of the connection that `_flying` was written to
        self._left_over: Latest[bool] = Latest()

    def send(self, topic: str, data: bytes) -> None:
        """Publish, or keep for later. Any thread may call."""
        with self._lock:
            self._waiting.append((topic, data))
            self._send_some()
            if len(self._waiting) > self._size:
                self._waiting.popleft()
                self._dropped.add()
            if self._waiting:
                self._gauge.set(len(self._waiting))
                self._left_over.put(True)

    async def keep_sending(self) -> None:
        """Send what `send` had to leave, as soon as the broker takes it; for ever."""
        told = self._dropped.value
        while True:
            await self._left_over.get()
            if not self._bus.is_connected:
                log.warning("results wait for the message broker; %d of them are kept at the most", self._size)
            while not self._try_all():
                await asyncio.sleep(RETRY if self._bus.is_connected else RETRY_AWAY)
            if self._dropped.value > told:
                log.warning("%d results were dropped before the broker took the others", self._dropped.value - told)
                told = self._dropped.value

    @contextlib.asynccontextmanager
    async def emptied(self) -> AsyncIterator[None]:
        """At the end of the block the broker has `LAST_WAIT` seconds to take what is left; the rest is lost, and told.

        Whoever sends must have ended by then: enter this before them.
        """
        try:
            yield
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WAIT):
                        while not self._try_all() or self._flying:
                            await asyncio.sleep(RETRY)
            finally:  # a second signal ends the wait, and loses no less
                self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            self._send_some()
            lost = len(self._waiting) + len(self._flying)
            self._waiting.clear()
            self._flying.clear()
        if lost:
            self._dropped.add(lost)
            self._gauge.set(0)
            log.warning("%d results are lost: the message broker had not taken them when the service ended", lost)

    def _try_all(self) -> bool:
        """Whether nothing waits any more."""
        with self._lock:
            self._send_some()
            self._gauge.set(len(self._waiting))
            return not self._waiting

    def _send_some(self) -> None:
        while self._flying and self._flying[0].is_done:
            self._flying.popleft()
        if self._flying and self._losses != self._bus.losses:
            return  # these were written to a connection that is lost, and come first on the next
        self._losses = self._bus.losses
        while self._waiting and len(self._flying) < WINDOW:
            sending = self._bus.publish(*self._waiting[0], qos=AT_LEAST_ONCE)
            if sending is None:
                break
            self._flying.append(sending)
            self._waiting.popleft()
