"""Where frames wait for a worker: one place for each camera, the newest wins, and every replaced one is counted.

The network thread only stores bytes here; the worker parses them, so a frame that is replaced costs no more than its
arrival. Cameras are served in turn, however many frames they send; among those that were served about as often the one
with the freshest frame is next, since the others' frames are soon replaced by fresher ones (decision 17).
Results of one camera are published in the order in which its frames were taken, also when several workers analyse
several of them at once.

Everything here is bounded: cameras, waiting bytes, and frames of one camera that are being analysed.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice

log = logging.getLogger(__name__)

MAX_CAMERAS = 1000  # more frame topics than this are a mistake or an attack; the longest silent ones are dropped
DROPPED_AT_ONCE = 100  # silent cameras, to admit others
MAX_WAITING = 256 * 1024 * 1024  # bytes of all waiting frames together
LEAD = 2  # frames: so far a camera with fresher frames may get ahead of another that waits
MAX_IN_PROGRESS = 16  # frames of one camera: no more results than these wait behind one that takes very long

Publish = Callable[[int], None]  # takes how many frames of its camera, itself and replaced ones included, have passed


@dataclass(slots=True)
class CameraQueue:
    """One camera's frames. The first part is guarded by the FrameQueue's lock, the second by its own."""

    topic: str
    waiting: bytes | None = None
    received_ns: int = 0  # UNIX time
    newest: int = 0  # `arrived` then
    arrival: int = 0  # the FrameQueue's count of frames then: larger is fresher
    arrived: int = 0  # frames that came, replaced and refused ones included
    replaced: int = 0  # since the last frame taken
    taken: int = 0
    served: int = 0  # frames taken, and those it counts as having had while it was silent

    finished: int = 0
    passed: int = 0
    last_result: dict[str, tuple[int, int]] = field(default_factory=dict)  # for the publisher: by pipeline
    _early: dict[int, tuple[int, Publish | None]] = field(default_factory=dict)  # finished before an earlier ticket
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_idle(self) -> bool:
        return self.waiting is None and self.taken == self.finished

    def finish(self, ticket: int, frames: int, publish: Publish | None) -> None:
        """Call `publish` once every earlier ticket is finished; None: the frame has no result."""
        with self._lock:
            self._early[ticket] = frames, publish
            while self.finished in self._early:
                frames, ready = self._early.pop(self.finished)
                self.passed += frames
                if ready is not None:
                    try:
                        ready(self.passed)
                    except Exception:  # one result's failure is its own: those behind it are published all the same
                        log.exception("a result for '%s' could not be published", self.topic)
                self.finished += 1


class FrameQueue:
    """Newest frame of every camera. One network thread puts, any number of workers take.

    `refuse` is called for every frame that cannot be stored, `forget` with the topics that were dropped for others.
    """

    def __init__(self, refuse: Callable[[], object], forget: Callable[[Collection[str]], object]) -> None:
        self._refuse = refuse
        self._forget = forget
        self._ready = threading.Condition()
        self._cameras: OrderedDict[str, CameraQueue] = OrderedDict()  # by topic, the longest silent first
        self._offered: dict[str, CameraQueue] = {}  # those that a worker may take from
        self._least_served = 0  # of those that were offered at the last take, and never less than before
        self._puts = 0
        self._bytes = 0
        self._closed = False

    def put(self, topic: str, data: bytes) -> None:
        """Store a frame in the place of one that no worker took. Never waits."""
        with self._ready:
            camera = self._camera(topic)
            if camera is not None:
                camera.arrived += 1
            if camera is None or self._bytes + len(data) - len(camera.waiting or b"") > MAX_WAITING:
                self._refuse()
                return
            if camera.waiting is not None:
                camera.replaced += 1
                self._bytes -= len(camera.waiting)
            self._puts += 1
            camera.waiting, camera.received_ns, camera.arrival = data, time.time_ns(), self._puts
            camera.newest = camera.arrived
            self._bytes += len(data)
            self._offer(camera)

    def take(self) -> "QueuedFrame | None":
        """Wait for a frame; None once the queue is closed."""
        with self._ready:
            while not self._offered and not self._closed:
                self._ready.wait()
            if self._closed:
                return None
            camera = self._next()
            data, camera.waiting = camera.waiting or b"", None
            self._bytes -= len(data)
            replaced, camera.replaced = camera.replaced, 0
            ticket, camera.taken = camera.taken, camera.taken + 1
            return QueuedFrame(camera.topic, data, camera.received_ns, camera.newest, replaced, self, camera, ticket)

    def finish(self, frame: "QueuedFrame", publish: Publish | None) -> None:
        """See `QueuedFrame.done`."""
        frame.camera_queue.finish(frame.ticket, frame.replaced + 1, publish)
        with self._ready:
            self._offer(frame.camera_queue)

    def close(self) -> None:
        """Let every worker end."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _next(self) -> CameraQueue:
        """The camera to serve now, no longer offered."""
        least = min(it.served for it in self._offered.values())
        camera = max((it for it in self._offered.values() if it.served < least + LEAD), key=lambda it: it.arrival)
        self._least_served = max(self._least_served, least)
        camera.served += 1
        return self._offered.pop(camera.topic)

    def _offer(self, camera: CameraQueue) -> None:
        """Let a worker take what waits, unless too many of its frames are in progress already.

        A slow camera comes before the others, by LEAD and no further: what it missed is not made up for.
        """
        in_progress = camera.taken - camera.finished
        if camera.waiting is None or camera.topic in self._offered or in_progress >= MAX_IN_PROGRESS:
            return
        camera.served = max(camera.served, self._least_served - LEAD)
        self._offered[camera.topic] = camera
        self._ready.notify()

    def _camera(self, topic: str) -> CameraQueue | None:
        """The queue of `topic`, made if need be; None while there are MAX_CAMERAS and all of them are busy."""
        camera = self._cameras.get(topic)
        if camera is not None:
            self._cameras.move_to_end(topic)
            return camera
        if len(self._cameras) >= MAX_CAMERAS:
            silent = list(islice((it.topic for it in self._cameras.values() if it.is_idle), DROPPED_AT_ONCE))
            if not silent:
                return None
            for dropped in silent:
                del self._cameras[dropped]
            self._forget(silent)
        # As if it had just been served: a flood of new topics gets no lead over the cameras that are there.
        camera = self._cameras[topic] = CameraQueue(topic, served=self._least_served + LEAD)
        return camera


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame that a worker has taken. The worker must call `done` exactly once."""

    topic: str
    data: bytes
    received_ns: int  # UNIX time
    arrived: int  # its number among the frames of its topic, from 1
    replaced: int  # frames of this camera replaced since the one taken before
    queue: FrameQueue
    camera_queue: CameraQueue
    ticket: int

    def done(self, publish: Publish | None) -> None:
        """Call `publish` after those of all earlier frames of its camera; None: it has no result."""
        self.queue.finish(self, publish)
