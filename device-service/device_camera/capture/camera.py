"""A camera as the rest of the service sees it: frames to take, requests to make, counters and a state to read."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import Invalid, TimedOut, Unavailable

from device_camera.capture.counters import Counters, FrameCounter
from device_camera.capture.loop import OFF, CaptureLoop, Facts, FrameMaker, Requested
from device_camera.capture.needed_size import SizeRequests
from device_camera.capture.state import Health, State, Status
from device_camera.frame import Frame
from device_camera.settings import CameraSettings
from device_camera.sources.base import Kind
from device_camera.timing import SECOND, ThreadClock

log = logging.getLogger(__name__)

_CLOSE_WAIT = 1.5  # seconds a source may take to close
_PASSED_THROUGH = "gives JPEGs that pass through as they are: making them smaller costs more than it saves"


class Camera:
    """One camera with its thread `camera-<name>`, alive within its `with` block; any thread may call anything.

    `frames` holds the newest frame; one that is not taken in time is replaced and counted. Only the event loop may call
    what concerns sizes: `request_sizes`, `size_note`, `change` and `watch`.
    """

    def __init__(self, name: str, settings: CameraSettings) -> None:
        self.name = name
        self.frames: Latest[Frame] = Latest()
        self.published = 0  # number of the last frame on the bus; its publisher counts
        self._clock = ThreadClock()
        self._sizes = SizeRequests()
        self._counter = FrameCounter()
        self._health = Health(self._clock)
        self._maker = FrameMaker(name, self._clock, self.frames, self._counter)
        self._requested = Requested(settings)
        self._loop = CaptureLoop(name, self._requested, self._clock, self._health, self._maker)
        # A daemon: a driver that never answers must not keep the process.
        self._thread = threading.Thread(target=self._loop.run, name=f"camera-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> CameraSettings:
        return self._requested.settings

    @property
    def status(self) -> Status:
        return self._health.status

    @property
    def counters(self) -> Counters:
        return self._counter.read()

    @property
    def facts(self) -> Facts | None:
        """Properties of the source when it was opened last; None before that."""
        return self._loop.facts

    @property
    def newest(self) -> Frame | None:
        """The last whole picture, published or not; None before the first."""
        return self._maker.newest

    @property
    def is_streaming_requested(self) -> bool:
        return self._requested.is_streaming

    def listen(self, listener: Callable[[Status], None]) -> None:
        """Call `listener` with each new status, in the thread that found it: cross to your own inside it."""
        self._health.listen(listener)

    def start_streaming(self) -> None:
        """Publish frames from now on; see `wait_streaming` for whether they come."""
        self._requested.is_streaming = True
        self._clock.wake()

    def stop_streaming(self, reason: str = OFF) -> None:
        """Publish no more frames and close the source; snapshots still work."""
        self._requested.why_stopped = reason
        self._requested.is_streaming = False
        self._clock.interrupt()

    def wait_streaming(self, seconds: float) -> None:
        """Wait for the first frame. Raises Unavailable with the camera's reason, TimedOut without one. Blocking."""
        status = self._health.wait_for(State.STREAMING, State.LOST, seconds=seconds)
        if status.state is State.LOST:
            raise Unavailable(f"camera {self.name}: {status.reason}")
        if status.state is not State.STREAMING:
            raise TimedOut(f"camera {self.name}: no frame within {seconds:g} s, it is {status.state}")

    def change(self, settings: CameraSettings) -> None:
        """Go on with other settings, from the next picture on; the source is opened anew only where that is needed."""
        needed = self._sizes.needed(time.monotonic()) if settings.encoding.follows else None
        if needed != settings.encoding.needed:
            settings = replace(settings, encoding=replace(settings.encoding, needed=needed))
        self._requested.settings = settings
        self._clock.wake()

    def request_sizes(self, sizes: Mapping[str, Any], seconds: float) -> None:
        """Pictures as large as subscribers need them, for so long: {"app-inference": "534x300"}.

        Raises Invalid for a camera whose size is set, and for one that cannot make its pictures smaller.
        """
        if not self.settings.encoding.follows:
            raise Invalid("its size is not auto, so others cannot choose it; set FrameSize to auto first")
        if self._passes_through():
            raise Invalid(f"{self.settings.source} {_PASSED_THROUGH}")
        self._sizes.add(sizes, time.monotonic(), seconds)
        self.change(self.settings)

    @property
    def size_note(self) -> str:
        """For people: the effect of Size auto; empty for a camera whose size is set."""
        if not self.settings.encoding.follows:
            return ""
        if self._passes_through():
            return _PASSED_THROUGH
        sizes = self._sizes.in_force(time.monotonic())
        return ", ".join(f"{size} for {subscriber}" for subscriber, size in sizes.items()) or "its own: no requests"

    def snapshot(self, seconds: float) -> Frame:
        """The newest picture, in full size except of USB cameras, whose mode is smaller. Blocking.

        Opens the source for one while streaming is off.
        Raises Unavailable with the camera's reason, TimedOut when none came in time.
        """
        newest = self._maker.newest
        if newest and newest.is_whole and newest.seq == self._maker.seq and self.status.state is State.STREAMING:
            return newest
        if self._requested.is_closing or not self._thread.is_alive():
            raise Unavailable(f"camera {self.name}: closed")
        picture = self._requested.snapshots.request()
        self._clock.wake()
        try:
            return picture.result(seconds)
        except TimeoutError:
            reason = self.status.reason
            cause = f": {reason}" if reason and reason != OFF else ""
            raise TimedOut(f"camera {self.name}: no picture within {seconds:g} s{cause}") from None
        finally:
            self._requested.snapshots.withdraw(picture)

    def count_withdrawn(self, reason: str) -> None:
        """A frame taken from `frames` was not published after all: count it as dropped for `reason`."""
        self._counter.count_withdrawn(reason)

    def watch(self) -> None:
        """Call every second: expires size requests, declares a source lost that blocks beyond every time-out."""
        settings = self._requested.settings
        if settings.encoding.needed and self._sizes.needed(time.monotonic()) != settings.encoding.needed:
            self.change(settings)
        silent = (self._clock.monotonic_ns() - self._loop.answered_ns) / SECOND
        if not self._requested.is_streaming or self._clock.is_resting:
            return
        if silent > settings.open_timeout + self._loop.read_timeout:
            self._health.become(State.LOST, f"{settings.source}: has not answered for {silent:.0f} s")

    def close(self) -> None:
        """End the thread; one whose source does not close in time is left to end by itself."""
        self._requested.is_closing = True
        self._clock.interrupt()
        self._thread.join(_CLOSE_WAIT)
        if self._thread.is_alive():
            log.warning("camera %s: %s does not close, its thread is left behind", self.name, self.settings.source)
            self._health.become(State.STOPPED, "closed")
        self._requested.snapshots.refuse(f"camera {self.name}: closed")

    def _passes_through(self) -> bool:
        """Whether its frames are the camera's own JPEGs, and it has no other modes."""
        facts = self.facts
        if facts is None or not facts.is_jpeg or facts.full_size:
            return False
        return facts.follows or self.settings.source.kind is not Kind.V4L2  # only opened with auto it knows its modes
