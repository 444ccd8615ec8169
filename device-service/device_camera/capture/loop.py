"""The thread of one camera: follows what is wished of it, takes every picture, comes back when the source is lost.

It rests while nobody wants pictures. Only this thread touches the source, except to interrupt it.
"""

import contextlib
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.redact import redact

from device_camera.capture.rate_limit import Shutter
from device_camera.capture.snapshots import Snapshots
from device_camera.capture.state import Health, State
from device_camera.clock import ThreadClock
from device_camera.frame import Size
from device_camera.settings import CameraSettings
from device_camera.sources.factory import Source, SourceEnded, open_source

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000  # ns
_STEADY = 10 * _SECOND  # a stream that lasted this long had recovered: the next back-off starts small again
OFF = "streaming is off"


@dataclass(slots=True)
class Wishes:
    """What other threads want; the camera's thread reads it whenever it is woken."""

    settings: CameraSettings
    is_streaming: bool = False
    is_closing: bool = False
    why_stopped: str = OFF
    snapshots: Snapshots = field(default_factory=Snapshots)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the open source says of itself."""

    native_fps: float  # pictures a second; 0 when it does not know
    size: Size  # (0, 0) when it does not know
    is_jpeg: bool  # frames pass through as the camera encoded them
    full_size: Size | None  # that it has unasked; None: it cannot be asked for others
    follows: bool  # it was opened to follow who looks at it, so `full_size` is known


class CaptureLoop:
    """What the thread does; `run` ends soon after `wishes.is_closing`."""

    def __init__(self, name: str, wishes: Wishes, clock: ThreadClock, health: Health, shutter: Shutter) -> None:
        self.source: Source | None = None
        self.facts: Facts | None = None  # of the source opened last
        self.seen_ns = clock.monotonic_ns()  # the source last answered
        self._camera = name
        self._wishes = wishes
        self._clock = clock
        self._health = health
        self._shutter = shutter
        self._settings = wishes.settings  # those in force
        self._failures = 0  # in a row
        self._streaming_ns: int | None = None  # of the first frame since the source was opened
        self._chance = random.Random()  # noqa: S311  spreads reconnects, keeps no secret

    def run(self) -> None:
        """Follow the wishes until closed; no fault of a source ends it before."""
        while not self._wishes.is_closing:
            self._clock.settle()
            try:
                self._follow()
            except SourceEnded as end:
                self._stop(str(end))
            except EdgexError as error:
                self._lose(str(error))
            except Exception as error:  # a driver's fault; this camera is opened anew, the others go on
                log.exception("camera %s failed", self._camera)
                self._lose(redact(f"{type(error).__name__}: {error}"))
        self._health.become(State.STOPPED, "closed")

    def _follow(self) -> None:
        """Do what is wished now, until it no longer is."""
        if self._wishes.is_closing:
            return
        if self._wishes.is_streaming:
            self._stream()
        elif self._wishes.snapshots.are_wanted:
            self._photograph()
        else:
            self._health.become(State.STOPPED, self._wishes.why_stopped)
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
        """Note what is wished; False when this source is not to be streamed any more, or not so."""
        self._clock.settle()
        wishes, old = self._wishes, self._settings
        if wishes.is_closing or not wishes.is_streaming:
            return False
        if (new := wishes.settings) is not old:
            if new.source != old.source or not source.adapt(new.source_options):
                return False
            self._adopt(new)
        return True

    def _take(self, source: Source) -> None:
        self.seen_ns = self._clock.monotonic_ns()
        frame = self._shutter.take(source, is_wanted=self._wishes.snapshots.are_wanted)
        if frame is None:
            return
        self._streaming_ns = self._streaming_ns or frame.captured_mono_ns
        if self._health.become(State.STREAMING):
            log.info("camera %s streams %dx%d from %s", self._camera, frame.width, frame.height, self._settings.source)
        if self._wishes.snapshots.are_wanted:
            self._wishes.snapshots.serve(self._shutter.in_full(source, frame))

    def _photograph(self) -> None:
        """Open the source for those who want one picture, and close it again."""
        with self._opened() as source:
            while self._wishes.snapshots.are_wanted and not self._wishes.is_closing:
                self._clock.settle()
                if source.grab() and (frame := self._shutter.take_one(source)):
                    self._wishes.snapshots.serve(self._shutter.in_full(source, frame))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Source]:
        settings = self._wishes.settings
        self._adopt(settings)
        self.seen_ns = self._clock.monotonic_ns()
        with open_source(settings.source, settings.source_options, self._clock) as source:
            self.seen_ns = self._clock.monotonic_ns()
            self.facts = _facts_of(source, settings)
            self._shutter.begin()
            self.source = source
            try:
                yield source
            finally:
                self.source = None

    def _adopt(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._shutter.set(settings.fps, settings.encoding, settings.read_timeout)

    def _stop(self, reason: str) -> None:
        """The source has come to its own end."""
        self._wishes.why_stopped = reason
        self._wishes.is_streaming = False
        self._wishes.snapshots.refuse(reason)

    def _lose(self, reason: str) -> None:
        """Say why there are no pictures and wait before the next attempt."""
        self._wishes.snapshots.refuse(reason)
        if self._wishes.is_closing or not self._wishes.is_streaming:
            return  # a grab that was interrupted, or a snapshot that did not work while streaming is off
        now = self._clock.monotonic_ns()
        if self._streaming_ns is not None and now - self._streaming_ns > _STEADY:
            self._failures = 0
        self._streaming_ns = None
        self._failures += 1
        if self._health.become(State.LOST, reason):
            log.warning("camera %s is lost: %s", self._camera, reason)
        self._rest(self._settings.backoff.delay(self._failures, self._chance))

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt, unless somebody wants something else meanwhile."""
        settings, until = self._wishes.settings, self._clock.monotonic_ns() + round(seconds * _SECOND)
        while (left := until - self._clock.monotonic_ns()) > 0:
            self._clock.wait(left / _SECOND)
            self._clock.settle()
            wishes = self._wishes
            if wishes.is_closing or not wishes.is_streaming:
                return
            if wishes.snapshots.are_wanted or wishes.settings is not settings:
                return


def _facts_of(source: Source, settings: CameraSettings) -> Facts:
    return Facts(source.native_fps, source.size, source.is_jpeg, source.full_size, settings.encoding.follows)
