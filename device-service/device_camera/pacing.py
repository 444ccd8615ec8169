"""Two timing rules, both on a fixed grid so that errors never add up: when a picture comes, which frame is due."""

from device_camera.clock import Clock

_SECOND = 1_000_000_000  # ns


class Pace:
    """Holds a source without a rate of its own to its clock: never faster, never drifting.

    Each picture is planned one step after the plan of the one before, whatever the waiting really took. After a
    stall of more than a step the missed steps are gone: nothing comes in a burst.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: int | None = None  # ns, monotonic

    def plan(self, seconds: float) -> None:
        """The next picture comes `seconds` after the one before it; the first one at once."""
        now, step = self._clock.monotonic_ns(), max(1, round(seconds * _SECOND))
        if self._due is None:
            self._due = now
            return
        self._due += step
        late = now - self._due
        if late > step:
            self._due += late // step * step

    def arrive(self) -> bool:
        """Wait for the planned time; False when woken before it, then call again."""
        while self._due is not None and (left := self._due - self._clock.monotonic_ns()) > 0:
            if self._clock.wait(left / _SECOND):
                return False
        return True


class RateGate:
    """Lets `fps` frames a second through out of however many come; 0 lets every one through.

    A frame is due from half its own distance before a grid point on, so that a camera's jitter costs no frame, and
    10 out of 12.5 a second are 10. After a pause the grid starts anew: no burst makes up for it.
    """

    def __init__(self, fps: float) -> None:
        self._step = round(_SECOND / fps) if fps > 0 else 0
        self._due: int | None = None  # ns, monotonic
        self._last = 0  # ns, of the frame before

    def is_due(self, mono_ns: int) -> bool:
        """True when the frame taken at `mono_ns` is to go through; asked once a frame, in order."""
        slack = min(self._step, mono_ns - self._last) // 2
        self._last = mono_ns
        if self._due is not None and mono_ns < self._due - slack:
            return False
        if self._due is None or mono_ns > self._due + self._step:
            self._due = mono_ns
        self._due += self._step
        return True
