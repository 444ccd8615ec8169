"""Results wait here for their sink. They are few and small, so unlike frames they are kept while it is away.

At most WINDOW results are under way without an acknowledgement. When the connection is lost, those under way are the
sink's to send again; until they are acknowledged no newer one is sent, so the order holds.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from edgex_kit.bus.queues import Latest
from edgex_kit.service.metrics import Counter, Gauge

log = logging.getLogger(__name__)

WINDOW = 20  # results without an acknowledgement; as many as paho keeps in flight (max_inflight_messages)
RETRY = 0.01  # seconds between two checks whether the sink takes more; an acknowledgement wakes nobody
RETRY_AWAY = 0.2  # seconds, while the sink is not connected
LAST_WAIT = 3.0  # seconds at the end; workers and REST need theirs too, and Docker kills what is there after ten


class Message(NamedTuple):
    """An encoded result."""

    topic: str
    data: bytes


class Delivery(Protocol):
    """A result that a sink has taken."""

    @property
    def is_done(self) -> bool:
        """Whether it is acknowledged."""


class Sink(Protocol):
    """Where results go. Any thread may call."""

    @property
    def is_connected(self) -> bool:
        """Whether it is worth trying now."""

    @property
    def losses(self) -> int:
        """How many connections it has lost."""

    def send(self, batch: Sequence[Message]) -> Sequence[Delivery]:
        """Begin to send, in order; a delivery for each that was taken, fewer when no more can be. Never blocks."""


class ResultQueue:
    """Sends in order, at once or when the sink is back; beyond `size` waiting results the oldest goes, counted."""

    def __init__(self, sink: Sink, size: int, dropped: Counter, waiting: Gauge) -> None:
        self._sink = sink
        self._size = size
        self._dropped = dropped
        self._gauge = waiting
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque()
        self._sent: deque[Delivery] = deque()  # not acknowledged yet
        self._losses = sink.losses  # of the connection that `_sent` went to
        self._left_over: Latest[bool] = Latest()

    def send(self, topic: str, data: bytes) -> None:
        """Send, or keep for later. Any thread may call."""
        with self._lock:
            self._waiting.append(Message(topic, data))
            self._send_some()
            if len(self._waiting) > self._size:
                self._waiting.popleft()
                self._dropped.add()
            if self._waiting:
                self._gauge.set(len(self._waiting))
                self._left_over.put(True)

    async def keep_sending(self) -> None:
        """Send what `send` had to leave, as soon as the sink takes it; for ever."""
        reported = self._dropped.value
        while True:
            await self._left_over.get()
            if not self._sink.is_connected:
                log.warning("results wait for the message broker; at most %d are kept", self._size)
            while not self._is_emptied():
                await asyncio.sleep(RETRY if self._sink.is_connected else RETRY_AWAY)
            if self._dropped.value > reported:
                log.warning("%d results were dropped before the others could be sent", self._dropped.value - reported)
                reported = self._dropped.value

    @contextlib.asynccontextmanager
    async def emptied(self) -> AsyncIterator[None]:
        """At the end of the block the sink has `LAST_WAIT` seconds to take what is left; the rest is dropped, counted.

        All senders must have ended by then: enter this before them.
        """
        try:
            yield
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WAIT):
                        while not self._is_emptied() or self._sent:
                            await asyncio.sleep(RETRY)
            finally:  # a second signal ends the wait; the rest is counted all the same
                self._drop_rest()

    def _drop_rest(self) -> None:
        with self._lock:
            self._send_some()
            lost = len(self._waiting) + len(self._sent)
            self._waiting.clear()
            self._sent.clear()
        if lost:
            self._dropped.add(lost)
            self._gauge.set(0)
            log.warning("%d results are lost: the message broker had not taken them when the service ended", lost)

    def _is_emptied(self) -> bool:
        """Send what can be sent; whether nothing waits any more."""
        with self._lock:
            self._send_some()
            self._gauge.set(len(self._waiting))
            return not self._waiting

    def _send_some(self) -> None:
        while self._sent and self._sent[0].is_done:
            self._sent.popleft()
        if self._sent and self._losses != self._sink.losses:
            return  # these went to a connection that is lost, and come first on the next
        self._losses = self._sink.losses
        free = WINDOW - len(self._sent)
        if free and self._waiting:
            taken = self._sink.send([self._waiting[at] for at in range(min(free, len(self._waiting)))])
            self._sent.extend(taken)
            for _ in taken:
                self._waiting.popleft()
