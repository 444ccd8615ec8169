"""Results wait here for their sink: in memory for a moment, on disk while it is away, so that a crash loses few.

At most WINDOW results are under way without an acknowledgement. When the connection is lost, those under way are the
sink's to send again; until they are acknowledged no newer one is sent, so the order holds. What is stored is sent
before anything newer.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from edgex_kit.bus.queues import Latest
from edgex_kit.service.metrics import Counter, Gauge

from app_inference.sinks.store import Limits, Message, MessageStore, Segment

log = logging.getLogger(__name__)

WINDOW = 20  # results without an acknowledgement; as many as paho keeps in flight (max_inflight_messages)
RETRY = 0.01  # seconds between two checks whether the sink takes more; an acknowledgement wakes nobody
RETRY_AWAY = 0.1  # seconds, while the sink is not connected
FLUSH_EVERY = 0.1  # seconds between two writes to the disk
SPILL_AFTER = 1.0  # seconds that a result may wait in memory
EXPIRE_EVERY = 60.0  # seconds
LAST_WAIT = 3.0  # seconds at the end; workers and REST need theirs too, and Docker kills what is there after ten


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


class _Sent(NamedTuple):
    delivery: Delivery
    message: Message


class ResultQueue:
    """Sends in order, at once or when the sink is back.

    Without a `store`, or while it cannot be written, at most `size` results wait in memory. Beyond that, and beyond the
    store's own limits, the oldest is dropped and counted.
    """

    def __init__(
        self,
        sink: Sink,
        size: int,
        dropped: Counter,
        waiting: Gauge,
        store: MessageStore | None = None,
        drain_rate: float = 0.0,
    ) -> None:
        """What is in `store` is sent at no more than `drain_rate` results a second; 0: no limit."""
        self._sink = sink
        self._size = size
        self._dropped = dropped
        self._gauge = waiting
        self._store = store
        self._drain_rate = drain_rate
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque()
        self._since = 0.0  # when the oldest of `_waiting` came, monotonic clock
        self._sent: deque[_Sent] = deque()  # not acknowledged yet
        self._losses = sink.losses  # of the connection that `_sent` went to
        self._left_over: Latest[bool] = Latest()
        self._stored = store.count if store else 0
        self._segment: Segment | None = None  # the stored file that is being sent
        self._draining: deque[Message] = deque()  # what of it is still to be sent
        self._store_fails = False
        self._flushed = 0.0  # when the disk was last written to, monotonic clock
        if self._stored:
            log.info("%d results of before are sent first", self._stored)
            self._left_over.put(True)

    def configure(self, limits: Limits, drain_rate: float) -> None:
        """Follow changed settings. Any thread may call."""
        if self._store is not None:
            self._store.limits = limits
        self._drain_rate = drain_rate

    def send(self, topic: str, data: bytes) -> None:
        """Send, or keep for later. Any thread may call."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(Message(topic, data))
            if not self._stored:
                self._send_from(self._waiting)
            if len(self._waiting) > self._size:
                self._waiting.popleft()
                self._dropped.add()
            if self._waiting:
                self._report()
                self._left_over.put(True)

    async def keep_sending(self) -> None:
        """Send what `send` had to leave, as soon as the sink takes it; for ever."""
        reported = self._dropped.value
        while True:
            await self._left_over.get()
            if not self._sink.is_connected:
                where = "on disk" if self._store else "in memory"
                log.warning("results wait %s for the message broker", where)
            expire_at = 0.0
            while not self._is_emptied():
                if self._store is not None:
                    if time.monotonic() >= expire_at:
                        expire_at = time.monotonic() + EXPIRE_EVERY
                        await asyncio.to_thread(self._expire)
                    await asyncio.to_thread(self._spill)
                    await asyncio.to_thread(self._drain)
                await asyncio.sleep(RETRY if self._sink.is_connected else RETRY_AWAY)
            if self._dropped.value > reported:
                log.warning("%d results were dropped before the others could be sent", self._dropped.value - reported)
                reported = self._dropped.value

    @contextlib.asynccontextmanager
    async def emptied(self) -> AsyncIterator[None]:
        """At the end of the block the sink has `LAST_WAIT` seconds to take what is in memory; the rest is stored, or
        dropped and counted.

        All senders must have ended by then: enter this before them.
        """
        try:
            yield
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WAIT):
                        while not self._is_emptied(with_stored=False) or self._sent:
                            await asyncio.sleep(RETRY)
            finally:  # a second signal ends the wait; the rest is stored or counted all the same
                self._keep_rest()

    def _keep_rest(self) -> None:
        with self._lock:
            if not self._stored:
                self._send_from(self._waiting)
            # those of the stored file that is being sent are in that file
            sent = [] if self._segment else [it.message for it in self._sent if not it.delivery.is_done]
            rest = [*sent, *self._waiting]
            self._waiting.clear()
            self._sent.clear()
        kept = self._kept(sent, rest[len(sent) :])
        if kept or self._stored:
            log.info("%d results are on disk and go out at the next start", self._stored + kept)
        if len(rest) > kept:
            self._dropped.add(len(rest) - kept)
            log.warning("%d results are lost: the service ended before they were sent", len(rest) - kept)
        self._gauge.set(0)

    def _kept(self, sent: list[Message], waiting: list[Message]) -> int:
        """Store what was under way before all others, and what waits behind them; how many are stored."""
        kept = 0
        try:
            if self._store is not None and sent:
                self._store.put_first(sent)
                kept += len(sent)
            if self._store is not None and waiting:
                self._dropped.add(self._store.append(waiting))
                kept += len(waiting)
        except OSError as error:
            log.warning("results cannot be stored: %s", error.strerror or error)
        return kept

    def _is_emptied(self, *, with_stored: bool = True) -> bool:
        """Send what can be sent; whether nothing waits any more, in memory and on disk."""
        with self._lock:
            if not self._stored:
                self._send_from(self._waiting)
            self._report()
            return not self._waiting and not (with_stored and self._stored)

    def _spill(self) -> None:
        """Write what has waited too long to the disk, as one group."""
        with self._lock:
            waits = bool(self._stored) or time.monotonic() - self._since > SPILL_AFTER
            if not self._waiting or not waits or time.monotonic() - self._flushed < FLUSH_EVERY:
                return
            self._flushed = time.monotonic()
            batch = list(self._waiting)
            self._waiting.clear()
            # From now on newer ones wait behind these, and no worker sends any directly.
            self._stored += len(batch)
        assert self._store is not None
        try:
            lost = self._store.append(batch)
        except OSError as error:
            if not self._store_fails:
                log.warning("results cannot be stored, they wait in memory: %s", error.strerror or error)
            self._store_fails = True
            with self._lock:
                self._stored -= len(batch)
                self._waiting.extendleft(reversed(batch))
            return
        self._store_fails = False
        with self._lock:
            self._since = time.monotonic()
            self._recount(lost)

    def _drain(self) -> None:
        """Send from the oldest stored file; delete it when all of it is acknowledged."""
        assert self._store is not None
        if not self._stored or not self._sink.is_connected:
            return
        if self._segment is None:
            with self._lock:
                if self._sent_is_pending():
                    return
            found = self._store.oldest()
            with self._lock:
                if found is None:
                    self._recount(0)
                    return
                self._segment, self._draining = found[0], deque(found[1])
        most = max(1, round(self._drain_rate * RETRY)) if self._drain_rate else WINDOW
        with self._lock:
            self._send_from(self._draining, most)
            is_done = not self._draining and not self._sent
        if is_done:
            self._store.remove(self._segment)
            with self._lock:
                self._segment = None
                self._recount(0)

    def _expire(self) -> None:
        assert self._store is not None
        if self._segment is None and (lost := self._store.expire()):
            with self._lock:
                self._recount(lost)

    def _recount(self, lost: int) -> None:
        assert self._store is not None
        self._dropped.add(lost)
        self._stored = self._store.count
        self._report()

    def _report(self) -> None:
        self._gauge.set(len(self._waiting) + self._stored)

    def _sent_is_pending(self) -> bool:
        """Whether something under way is not acknowledged yet."""
        while self._sent and self._sent[0].delivery.is_done:
            self._sent.popleft()
        return bool(self._sent)

    def _send_from(self, queue: deque[Message], most: int = WINDOW) -> None:
        if self._sent_is_pending() and self._losses != self._sink.losses:
            return  # these went to a connection that is lost, and come first on the next
        self._losses = self._sink.losses
        free = min(WINDOW - len(self._sent), most)
        if free > 0 and queue:
            batch = [queue[at] for at in range(min(free, len(queue)))]
            for delivery in self._sink.send(batch):
                self._sent.append(_Sent(delivery, queue.popleft()))
