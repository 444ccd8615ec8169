"""A camera as the rest of the service holds it: frames to take, wishes to leave, counters and a state to read."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import TimedOut, Unavailable

from device_camera.capture.counters import Counters, Tally
from device_camera.capture.loop import OFF, CaptureLoop, Facts, Wishes
from device_camera.capture.rate_limit import Shutter
from device_camera.capture.size_requests import Leases
from device_camera.capture.state import Health, State, Status
from device_camera.clock import ThreadClock
from device_camera.frame import Frame
from device_camera.settings import CameraSettings

log = logging.getLogger(__name__)

_CLOSING = 5.0  # seconds a source may take to let go


class Camera:
    """One camera with its thread `camera-<name>`, alive within its `with` block; any thread may call anything.

    `frames` holds the newest frame; one that nobody takes is replaced and counted. `needs` is the event loop's alone.
    """

    def __init__(self, name: str, settings: CameraSettings) -> None:
        self.name = name
        self.frames: Latest[Frame] = Latest()
        self.needs = Leases()
        self._clock = ThreadClock()
        self._tally = Tally()
        self._health = Health(self._clock)
        self._shutter = Shutter(name, self._clock, self.frames, self._tally)
        self._wishes = Wishes(settings)
        self._loop = CaptureLoop(name, self._wishes, self._clock, self._health, self._shutter)
        # A daemon: a driver that never answers must not keep the process.
        self._thread = threading.Thread(target=self._loop.run, name=f"camera-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> CameraSettings:
        return self._wishes.settings

    @property
    def status(self) -> Status:
        return self._health.status

    @property
    def counters(self) -> Counters:
        return self._tally.read()

    @property
    def facts(self) -> Facts | None:
        """What the source said of itself when it was opened last; None before that."""
        return self._loop.facts

    @property
    def newest(self) -> Frame | None:
        """The last whole picture, published or not; None before the first."""
        return self._shutter.newest

    @property
    def is_streaming_wanted(self) -> bool:
        return self._wishes.is_streaming

    def listen(self, listener: Callable[[Status], None]) -> None:
        """Call `listener` with each new status, in the thread that found it: cross to your own inside it."""
        self._health.listen(listener)

    def start_streaming(self) -> None:
        """Publish frames from now on; see `wait_streaming` for whether they come."""
        self._wishes.is_streaming = True
        self._clock.wake()

    def stop_streaming(self, reason: str = OFF) -> None:
        """Publish no more frames and close the source; snapshots still work."""
        self._wishes.why_stopped = reason
        self._wishes.is_streaming = False
        self._wake()

    def wait_streaming(self, seconds: float) -> None:
        """Wait for the first frame. Raises Unavailable with the camera's reason, TimedOut without one. Blocking."""
        status = self._health.wait_for(State.STREAMING, State.LOST, seconds=seconds)
        if status.state is State.LOST:
            raise Unavailable(f"camera {self.name}: {status.reason}")
        if status.state is not State.STREAMING:
            raise TimedOut(f"camera {self.name}: no frame within {seconds:g} s, it is {status.state}")

    def change(self, settings: CameraSettings) -> None:
        """Go on with other settings, from the next picture on; the source is opened anew only where that is needed."""
        self._wishes.settings = settings
        self._clock.wake()

    def snapshot(self, seconds: float) -> Frame:
        """The newest picture, in full size except of USB cameras, whose mode is smaller. Blocking.

        Opens the source for one while streaming is off.
        Raises Unavailable with the camera's reason, TimedOut when none came in time.
        """
        newest = self._shutter.newest
        if newest and newest.is_whole and newest.seq == self._shutter.seq and self.status.state is State.STREAMING:
            return newest
        if self._wishes.is_closing or not self._thread.is_alive():
            raise Unavailable(f"camera {self.name}: closed")
        asked = self._wishes.snapshots.ask()
        self._clock.wake()
        try:
            return asked.result(seconds)
        except TimeoutError:
            raise TimedOut(f"camera {self.name}: no picture within {seconds:g} s{self._why()}") from None
        finally:
            self._wishes.snapshots.withdraw(asked)

    def count_withdrawn(self, reason: str) -> None:
        """A frame taken from `frames` did not get out after all: count it as dropped for `reason`."""
        self._tally.count_withdrawn(reason)

    def watch(self) -> None:
        """Call now and then: a source that keeps its thread beyond every time-out is found lost here."""
        settings = self._wishes.settings
        silent = (self._clock.monotonic_ns() - self._loop.seen_ns) / 1e9
        if not self._wishes.is_streaming or self._clock.is_resting:
            return
        if silent > settings.open_timeout + settings.read_timeout:
            self._health.become(State.LOST, f"{settings.source}: has not answered for {silent:.0f} s")

    def close(self) -> None:
        """End the thread; one whose source does not let go in time is left to end by itself."""
        self._wishes.is_closing = True
        self._wake()
        self._thread.join(_CLOSING)
        if self._thread.is_alive():
            log.warning("camera %s: %s does not let go, it is left behind", self.name, self.settings.source)
            self._health.become(State.STOPPED, "closed")
        self._wishes.snapshots.refuse(f"camera {self.name}: closed")

    def _wake(self) -> None:
        self._clock.wake()
        if source := self._loop.source:
            source.interrupt()

    def _why(self) -> str:
        reason = self.status.reason
        return f": {reason}" if reason and reason != OFF else ""
