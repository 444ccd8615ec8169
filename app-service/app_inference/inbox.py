"""Where frames wait for a worker: one place a camera, the newest wins, and every replaced one is counted.

The network thread only stores bytes here; parsing them is the worker's job, so a frame that is replaced costs no more
than its arrival. Cameras take turns, and results of one camera leave in the order in which its frames were taken, even
when two workers look at two of its frames at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Leave = Callable[[], None]


@dataclass(slots=True)
class Lane:
    """One camera's way through the service; its fields are guarded by its inbox's lock or, below, by its own."""

    topic: str
    waiting: bytes | None = None
    received_ns: int = 0
    replaced: int = 0  # since the last frame taken
    taken: int = 0
    _left: int = 0
    _early: dict[int, Leave | None] = field(default_factory=dict)
    _door: threading.Lock = field(default_factory=threading.Lock)

    def leave(self, ticket: int, act: Leave | None) -> None:
        """Run `act` once every earlier ticket has left; None leaves without a result. Call it once a ticket."""
        with self._door:
            self._early[ticket] = act
            while self._left in self._early:
                ready = self._early.pop(self._left)
                self._left += 1
                if ready is not None:
                    ready()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that a worker has taken. Its holder must call `lane.leave(ticket, ...)` exactly once."""

    topic: str
    data: bytes
    received_ns: int  # UNIX time
    missed: int  # frames of this camera replaced since the one taken before
    lane: Lane
    ticket: int


MAX_LANES = 1000  # more frame topics than this are a mistake or an attack, and each would hold a frame


class Inbox:
    """Newest frame of every camera. One network thread puts, any number of workers take."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._lanes: dict[str, Lane] = {}
        self._turn: deque[Lane] = deque()  # lanes with a waiting frame, the longest-waiting camera first
        self._closed = False
        self.refused = 0  # frames on topics beyond MAX_LANES

    def put(self, topic: str, data: bytes) -> bool:
        """Store a frame; True when it replaced one that nobody took. Never blocks."""
        with self._ready:
            lane = self._lanes.get(topic)
            if lane is None:
                if len(self._lanes) >= MAX_LANES:
                    self.refused += 1
                    return False
                lane = self._lanes[topic] = Lane(topic)
            replaced = lane.waiting is not None
            lane.waiting, lane.received_ns = data, time.time_ns()
            if replaced:
                lane.replaced += 1
            else:
                self._turn.append(lane)
                self._ready.notify()
            return replaced

    def take(self) -> Arrival | None:
        """Wait for a frame; None once the inbox is closed."""
        with self._ready:
            while not self._turn and not self._closed:
                self._ready.wait()
            if self._closed:
                return None
            lane = self._turn.popleft()
            data, lane.waiting = lane.waiting or b"", None
            missed, lane.replaced = lane.replaced, 0
            ticket, lane.taken = lane.taken, lane.taken + 1
            return Arrival(lane.topic, data, lane.received_ns, missed, lane, ticket)

    def close(self) -> None:
        """Send every worker home."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
