"""The capture thread of one camera: opens the source, takes every picture, reopens the source when it is lost.

Each captured picture is counted exactly once: published, or dropped as not due, damaged, replaced or failed. The thread
rests while no pictures are requested. Only this thread touches the source.
"""

import contextlib
import logging
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import EdgexError, Malformed, Unavailable
from edgex_kit.wire.redact import redact

from device_camera.capture.counters import DAMAGED, FAILED, RATE, SNAPSHOT, FrameCounter
from device_camera.capture.state import Health, State
from device_camera.frame import Frame, Moment, Size, frame_from_picture
from device_camera.settings import CameraSettings
from device_camera.sources.base import Source, SourceEnded, SourceOptions
from device_camera.sources.factory import open_source
from device_camera.timing import SECOND, Clock, RateGate, ThreadClock

log = logging.getLogger(__name__)

_STEADY = 10 * SECOND  # a stream that lasted this long had recovered: the next back-off starts small again
_LONGEST_WAIT = 120.0  # seconds for a picture of a camera whose pace is not known
_WARN_EVERY = 60 * SECOND  # of damaged pictures of one camera; DropReasons counts them all
OFF = "streaming is off"


class Snapshots:
    """Requests for one picture; any thread makes them, the capture thread serves all of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Future[Frame]] = []

    @property
    def are_wanted(self) -> bool:
        return bool(self._waiting)

    def request(self) -> "Future[Frame]":
        """The next whole picture."""
        future: Future[Frame] = Future()
        with self._lock:
            self._waiting.append(future)
        return future

    def withdraw(self, future: "Future[Frame]") -> None:
        """Wait no longer."""
        with self._lock:
            if future in self._waiting:
                self._waiting.remove(future)

    def serve(self, frame: Frame) -> None:
        """Give the picture to all."""
        for future in self._take_all():
            future.set_result(frame)

    def refuse(self, reason: str) -> None:
        """Raise Unavailable with the reason for all."""
        for future in self._take_all():
            future.set_exception(Unavailable(reason))

    def _take_all(self) -> "list[Future[Frame]]":
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting


@dataclass(slots=True)
class Requested:
    """What other threads request; the capture thread reads it whenever it is woken."""

    settings: CameraSettings
    is_streaming: bool = False
    is_closing: bool = False
    why_stopped: str = OFF
    snapshots: Snapshots = field(default_factory=Snapshots)


@dataclass(frozen=True, slots=True)
class Facts:
    """Properties of the open source."""

    native_fps: float  # pictures a second; 0 when it does not know
    size: Size  # (0, 0) when it does not know
    is_jpeg: bool  # frames pass through as the camera encoded them
    full_size: Size | None  # of its largest mode; None: it has no modes to choose from
    follows: bool  # it was opened with Size auto, so `full_size` is known


class FrameMaker:
    """Makes frames of what a source has grabbed; `seq` goes on over loops, reconnects and pauses."""

    def __init__(self, camera: str, clock: Clock, frames: Latest[Frame], counter: FrameCounter) -> None:
        self.newest: Frame | None = None  # the last whole picture, published or not
        self.seq = 0  # of the last captured picture
        self._camera = camera
        self._clock = clock
        self._frames = frames
        self._counter = counter
        self._damaged_since: int | None = None  # ns, monotonic; None after a whole picture
        self._warned_ns: int | None = None  # of a damaged picture
        self.adopt(SourceOptions())

    def adopt(self, options: SourceOptions) -> None:
        """Other options from now on; damaged pictures for longer than the read time-out lose the source."""
        self._gate = RateGate(options.fps)
        self._options = options

    def begin(self) -> None:
        """A source was opened anew: damaged pictures of the last one do not count against it."""
        self._damaged_since = None

    def take(self, source: Source, *, is_wanted: bool) -> Frame | None:
        """Take what `source` grabbed; publish it if it is due. The frame, if it is due or `is_wanted` for a snapshot.

        Raises Unavailable when nothing but damaged pictures came for too long.
        """
        taken = self._moment()
        is_due = self._gate.is_due(taken.mono_ns)
        if not (is_due or is_wanted):
            self._counter.count_dropped(RATE)
            return None
        frame = self._frame_from(source, taken)
        if frame and is_due:
            self._counter.count_published(replaced=self._frames.put(frame))
        elif frame:
            self._counter.count_dropped(RATE)
        return frame

    def take_one(self, source: Source) -> Frame | None:
        """Take what `source` grabbed for a snapshot only; None when it is damaged."""
        frame = self._frame_from(source, self._moment())
        if frame:
            self._counter.count_dropped(SNAPSHOT)
        return frame

    def in_full(self, source: Source, frame: Frame) -> Frame:
        """The same picture as large as the source gave it, where `frame` was made smaller for the stream.

        A USB camera in a smaller mode has given no more than that mode's pixels.
        """
        if frame.is_whole or source.is_jpeg or source.size == (frame.width, frame.height):
            return frame
        taken = Moment(frame.seq, frame.captured_ns, frame.captured_mono_ns)
        encoding = replace(self._options.encoding, needed=None)
        with contextlib.suppress(Malformed):  # a file that is gone by now
            return frame_from_picture(source.retrieve(), encoding, taken, limits=self._options.limits)
        return frame

    def _moment(self) -> Moment:
        self.seq += 1
        return Moment(self.seq, self._clock.unix_ns(), self._clock.monotonic_ns())

    def _frame_from(self, source: Source, taken: Moment) -> Frame | None:
        """The frame of a grabbed picture; None, and counted, when there is none."""
        dropped = FAILED
        try:
            options, picture = self._options, source.retrieve()
            self.newest = frame_from_picture(picture, options.encoding, taken, source.full_size, options.limits)
            self._damaged_since = None
            dropped = ""
            return self.newest
        except Malformed as error:
            dropped = DAMAGED
            self._note_damage(error, taken.mono_ns)
            return None
        finally:
            if dropped:
                self._counter.count_dropped(dropped)

    def _note_damage(self, error: Malformed, now: int) -> None:
        """A damaged picture is dropped; a source that gives nothing else for too long is lost."""
        if self._warned_ns is None or now - self._warned_ns >= _WARN_EVERY:
            self._warned_ns = now
            log.warning("camera %s gave a damaged picture, which is dropped: %s", self._camera, error)
        self._damaged_since = self._damaged_since or now
        patience = self._options.read_timeout
        if now - self._damaged_since > patience * SECOND:
            raise Unavailable(f"no whole picture for {patience:g} s: {error}") from error


class CaptureLoop:
    """What the thread does; `run` returns soon after `requested.is_closing`."""

    def __init__(self, name: str, requested: Requested, clock: ThreadClock, health: Health, frames: FrameMaker) -> None:
        self.facts: Facts | None = None  # of the source opened last
        self.answered_ns = clock.monotonic_ns()  # the source last answered
        self._camera = name
        self._requested = requested
        self._clock = clock
        self._health = health
        self._frames = frames
        self._settings = requested.settings  # those in force
        self._failures = 0  # in a row
        self._slowness = 1.0  # factor of the read time-out, for a camera whose pictures come more slowly
        self._gap = 0.0  # seconds between the last two pictures of an opening
        self._streaming_ns: int | None = None  # of the first frame since the source was opened
        self._pictures = 0  # since the source was opened
        self._is_open = False
        self._chance = random.Random()  # noqa: S311  spreads reconnects, keeps no secret

    @property
    def read_timeout(self) -> float:
        """Seconds that a picture is waited for now."""
        return self._patient(self._settings).read_timeout

    def run(self) -> None:
        """Do what is requested until closed; no fault of a source ends it before."""
        while not self._requested.is_closing:
            self._clock.settle()
            try:
                self._run_once()
            except SourceEnded as end:
                self._stop(str(end))
            except EdgexError as error:
                self._lose(str(error))
            except Exception as error:  # a driver's fault; this camera is opened anew, the others go on
                log.exception("camera %s failed", self._camera)
                self._lose(redact(f"{type(error).__name__}: {error}"))
        self._health.become(State.STOPPED, "closed")

    def _run_once(self) -> None:
        """Do what is requested now, until something else is."""
        if self._requested.is_closing:
            return
        if self._requested.is_streaming:
            self._stream()
        elif self._requested.snapshots.are_wanted:
            self._take_snapshots()
        else:
            self._health.become(State.STOPPED, self._requested.why_stopped)
            self._clock.wait(None)

    def _stream(self) -> None:
        self._streaming_ns = None
        if self._health.status.state is not State.LOST:
            self._health.become(State.CONNECTING)
        with self._opened() as source:
            while self._goes_on(source):
                if source.grab():
                    self._take(source)

    def _goes_on(self, source: Source) -> bool:
        """Adopt changed settings; False when this source is not to be streamed any more, or not with them."""
        self._clock.settle()
        requested, old = self._requested, self._settings
        if requested.is_closing or not requested.is_streaming:
            return False
        if (new := requested.settings) is not old:
            if new.source != old.source or not source.adapt(self._patient(new)):
                return False
            self._adopt(new)
        return True

    def _take(self, source: Source) -> None:
        now = self._clock.monotonic_ns()
        if self._pictures:
            self._gap = (now - self.answered_ns) / SECOND
        self._pictures += 1
        self.answered_ns = now
        frame = self._frames.take(source, is_wanted=self._requested.snapshots.are_wanted)
        if frame is None:
            return
        self._streaming_ns = self._streaming_ns or frame.captured_mono_ns
        if self._health.become(State.STREAMING):
            log.info("camera %s streams %dx%d from %s", self._camera, frame.width, frame.height, self._settings.source)
        if self._requested.snapshots.are_wanted:
            self._requested.snapshots.serve(self._frames.in_full(source, frame))

    def _take_snapshots(self) -> None:
        """Open the source for snapshots, and close it again."""
        with self._opened() as source:
            while self._requested.snapshots.are_wanted and not self._requested.is_closing:
                self._clock.settle()
                if source.grab() and (frame := self._frames.take_one(source)):
                    self._requested.snapshots.serve(self._frames.in_full(source, frame))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Source]:
        settings = self._requested.settings
        self._adopt(settings)
        self.answered_ns = self._clock.monotonic_ns()
        self._pictures, self._is_open = 0, False
        with open_source(settings.source, self._patient(settings), self._clock) as source:
            self.answered_ns, self._is_open = self._clock.monotonic_ns(), True
            self.facts = Facts(
                source.native_fps, source.size, source.is_jpeg, source.full_size, settings.encoding.follows
            )
            self._frames.begin()
            yield source

    def _adopt(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._frames.adopt(settings)

    def _patient(self, settings: CameraSettings) -> CameraSettings:
        """Settings with a read time-out that a slow camera keeps."""
        return replace(settings, read_timeout=min(300.0, settings.read_timeout * self._slowness))

    def _learn(self) -> None:
        """An open camera that fell silent may be slow: wait longer after it is opened anew.

        Once its pace is known, it is waited for three times as long as its pictures take.
        """
        silent = (self._clock.monotonic_ns() - self.answered_ns) / SECOND
        if self._pictures > 1:
            self._slowness = max(1.0, 3 * self._gap / self._settings.read_timeout)
        elif self._is_open and silent > 0.9 * self.read_timeout and self.read_timeout < _LONGEST_WAIT:
            self._slowness *= 2

    def _stop(self, reason: str) -> None:
        """The source has come to its own end."""
        self._requested.why_stopped = reason
        self._requested.is_streaming = False
        self._requested.snapshots.refuse(reason)

    def _lose(self, reason: str) -> None:
        """Publish why there are no pictures and wait before the next attempt."""
        self._requested.snapshots.refuse(reason)
        if self._requested.is_closing or not self._requested.is_streaming:
            return  # a grab that was interrupted, or a snapshot that did not work while streaming is off
        now = self._clock.monotonic_ns()
        if self._streaming_ns is not None and now - self._streaming_ns > _STEADY:
            self._failures = 0
        self._streaming_ns = None
        self._failures += 1
        self._learn()
        if self._health.become(State.LOST, reason):
            log.warning("camera %s is lost: %s", self._camera, reason)
        self._rest(self._settings.backoff.delay(self._failures, self._chance))

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt, unless something else is requested meanwhile."""
        settings, until = self._requested.settings, self._clock.monotonic_ns() + round(seconds * SECOND)
        while (left := until - self._clock.monotonic_ns()) > 0:
            self._clock.wait(left / SECOND)
            self._clock.settle()
            requested = self._requested
            if requested.is_closing or not requested.is_streaming:
                return
            if requested.snapshots.are_wanted or requested.settings is not settings:
                return
