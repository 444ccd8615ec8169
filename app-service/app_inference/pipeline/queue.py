"""Where frames wait for a worker: one place a camera, the newest wins, and every replaced one is counted.

The network thread only stores bytes here; parsing them is the worker's job, so a frame that is replaced costs no more
than its arrival. Cameras take turns, however many frames they send; among those that had about as many turns the one
with the freshest frame is next, as the others' frames are soon replaced by fresher ones (decision 17).
Results of one camera leave in the order in which its frames were taken, even when several workers look at several of
them at once.

Nothing in here grows without bound: cameras, bytes that wait, and frames of one camera that are under way are limited.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice

log = logging.getLogger(__name__)

MAX_LANES = 1000  # more frame topics than this are a mistake or an attack; the longest silent ones make room
ROOM = 100  # for so many others, at once
MAX_WAITING = 256 * 1024 * 1024  # bytes of all waiting frames together
LEAD = 2  # turns: so far a camera with fresher frames may get ahead of another that waits
MAX_UNDER_WAY = 16  # frames of one camera: behind one that takes for ever, the results of no more than these wait

Leave = Callable[[int], None]  # takes how many frames of its lane, itself and replaced ones included, have gone by


@dataclass(slots=True)
class CameraQueue:
    """One camera's way through the service: above guarded by its inbox's lock, below by its own door."""

    topic: str
    waiting: bytes | None = None
    received_ns: int = 0
    came: int = 0  # the inbox's count of frames then: larger is fresher
    replaced: int = 0  # since the last frame taken
    taken: int = 0
    turns: int = 0  # taken, and those it is held to have had while it was not there

    left: int = 0
    gone_by: int = 0
    answered: dict[str, int] = field(default_factory=dict)  # for who leaves: pipeline -> `gone_by` at its last result
    _early: dict[int, tuple[int, Leave | None]] = field(default_factory=dict)
    _door: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_at_rest(self) -> bool:
        return self.waiting is None and self.taken == self.left

    def leave(self, ticket: int, frames: int, act: Leave | None) -> None:
        """Run `act` once every earlier ticket has left; None leaves without a result."""
        with self._door:
            self._early[ticket] = frames, act
            while self.left in self._early:
                frames, ready = self._early.pop(self.left)
                self.gone_by += frames
                if ready is not None:
                    self._let_out(ready)
                self.left += 1

    def _let_out(self, ready: Leave) -> None:
        try:
            ready(self.gone_by)
        except Exception:  # one result's failure is its own: those behind it leave all the same
            log.exception("a result for '%s' could not leave", self.topic)


class FrameQueue:
    """Newest frame of every camera. One network thread puts, any number of workers take.

    `refuse` hears of every frame there is no room for, `forget` of the topics that made room for others.
    """

    def __init__(self, refuse: Callable[[], object], forget: Callable[[Collection[str]], object]) -> None:
        self._refuse = refuse
        self._forget = forget
        self._ready = threading.Condition()
        self._lanes: OrderedDict[str, CameraQueue] = OrderedDict()  # the longest silent first
        self._offered: dict[str, CameraQueue] = {}  # those whose turn will come
        self._least_turns = 0  # of those that were offered at the last take, and never less than before
        self._puts = 0
        self._bytes = 0
        self._closed = False

    def put(self, topic: str, data: bytes) -> None:
        """Store a frame in the place of one that nobody took. Never waits."""
        with self._ready:
            lane = self._lane(topic)
            if lane is None or self._bytes + len(data) - len(lane.waiting or b"") > MAX_WAITING:
                self._refuse()
                return
            if lane.waiting is not None:
                lane.replaced += 1
                self._bytes -= len(lane.waiting)
            self._puts += 1
            lane.waiting, lane.received_ns, lane.came = data, time.time_ns(), self._puts
            self._bytes += len(data)
            self._offer(lane)

    def take(self) -> "QueuedFrame | None":
        """Wait for a frame; None once the inbox is closed."""
        with self._ready:
            while not self._offered and not self._closed:
                self._ready.wait()
            if self._closed:
                return None
            lane = self._next()
            data, lane.waiting = lane.waiting or b"", None
            self._bytes -= len(data)
            missed, lane.replaced = lane.replaced, 0
            ticket, lane.taken = lane.taken, lane.taken + 1
            return QueuedFrame(lane.topic, data, lane.received_ns, missed, self, lane, ticket)

    def leave(self, arrival: "QueuedFrame", act: Leave | None) -> None:
        """The other half of `take`: see `QueuedFrame.leave`."""
        arrival.lane.leave(arrival.ticket, arrival.missed + 1, act)
        with self._ready:
            self._offer(arrival.lane)

    def close(self) -> None:
        """Send every worker home."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _next(self) -> CameraQueue:
        """The lane whose turn it is, no longer offered."""
        least = min(lane.turns for lane in self._offered.values())
        lane = max((it for it in self._offered.values() if it.turns < least + LEAD), key=lambda it: it.came)
        self._least_turns = max(self._least_turns, least)
        lane.turns += 1
        return self._offered.pop(lane.topic)

    def _offer(self, lane: CameraQueue) -> None:
        """Let a worker have what waits in `lane`, unless too many of its frames are under way already.

        A slow camera comes to the head of the others, and no further: what it missed is not made up for.
        """
        if lane.waiting is None or lane.topic in self._offered or lane.taken - lane.left >= MAX_UNDER_WAY:
            return
        lane.turns = max(lane.turns, self._least_turns - LEAD)
        self._offered[lane.topic] = lane
        self._ready.notify()

    def _lane(self, topic: str) -> CameraQueue | None:
        """The lane of `topic`, made if need be; None while every lane there may be is busy."""
        lane = self._lanes.get(topic)
        if lane is not None:
            self._lanes.move_to_end(topic)
            return lane
        if len(self._lanes) >= MAX_LANES:
            silent = list(islice((it.topic for it in self._lanes.values() if it.is_at_rest), ROOM))
            if not silent:
                return None
            for gone in silent:
                del self._lanes[gone]
            self._forget(silent)
        # As if it had just had its turns: a flood of new topics gets no lead over the cameras that are there.
        lane = self._lanes[topic] = CameraQueue(topic, turns=self._least_turns + LEAD)
        return lane


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame that a worker has taken. Its holder must call `leave` exactly once."""

    topic: str
    data: bytes
    received_ns: int  # UNIX time
    missed: int  # frames of this camera replaced since the one taken before
    inbox: FrameQueue
    lane: CameraQueue
    ticket: int

    def leave(self, act: Leave | None) -> None:
        """Run `act` in this frame's turn, after those of all earlier frames of its camera; None: it has no result."""
        self.inbox.leave(self, act)
