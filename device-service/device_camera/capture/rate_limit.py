"""Picture by picture: due or not, whole or damaged, taken or replaced; each counted exactly once."""

import contextlib
import logging
from dataclasses import replace

from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import Malformed, Unavailable

from device_camera.capture.counters import DAMAGED, FAILED, RATE, SNAPSHOT, Tally
from device_camera.clock import Clock
from device_camera.frame import Encoding, Frame, Moment, frame_from_picture
from device_camera.pacing import RateGate
from device_camera.sources.factory import Source

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000  # ns
_SAID_EVERY = 60 * _SECOND  # of one camera; DropReasons counts them all


class Shutter:
    """Makes frames of what a source has grabbed; `seq` goes on over loops, reconnects and pauses."""

    def __init__(self, camera: str, clock: Clock, frames: Latest[Frame], tally: Tally) -> None:
        self.newest: Frame | None = None  # the last whole picture, published or not
        self.seq = 0  # of the last captured picture
        self._camera = camera
        self._clock = clock
        self._frames = frames
        self._tally = tally
        self._encoding = Encoding()
        self._patience = 0.0  # seconds
        self._damaged_since: int | None = None  # ns, monotonic; None after a whole picture
        self._said_ns: int | None = None  # that a picture was damaged
        self.set(0.0, Encoding(), 10.0)

    def set(self, fps: float, encoding: Encoding, patience: float) -> None:
        """From now on: frames a second to publish (0: all), how to encode, seconds of damaged pictures to bear."""
        self._gate = RateGate(fps)
        self._encoding = encoding
        self._patience = patience

    def begin(self) -> None:
        """A source was opened anew: what the last one damaged is forgotten."""
        self._damaged_since = None

    def take(self, source: Source, *, is_wanted: bool) -> Frame | None:
        """Take what `source` grabbed; publish it if it is due. The frame, if it is due or `is_wanted` for a snapshot.

        Raises Unavailable when nothing but damaged pictures came for too long.
        """
        taken = self._moment()
        is_due = self._gate.is_due(taken.mono_ns)
        if not (is_due or is_wanted):
            self._tally.count_dropped(RATE)
            return None
        frame = self._develop(source, taken)
        if frame and is_due:
            self._tally.count_published(replaced=self._frames.put(frame))
        elif frame:
            self._tally.count_dropped(RATE)
        return frame

    def take_one(self, source: Source) -> Frame | None:
        """Take what `source` grabbed for a snapshot only; None when it is damaged."""
        frame = self._develop(source, self._moment())
        if frame:
            self._tally.count_dropped(SNAPSHOT)
        return frame

    def in_full(self, source: Source, frame: Frame) -> Frame:
        """The same picture as large as the source gave it, where `frame` is smaller for who looks at the stream.

        A USB camera in a smaller mode has given no more than that mode's pixels.
        """
        if frame.is_whole or source.is_jpeg or source.size == (frame.width, frame.height):
            return frame
        taken = Moment(frame.seq, frame.captured_ns, frame.captured_mono_ns)
        with contextlib.suppress(Malformed):  # a file that is gone by now
            return frame_from_picture(source.retrieve(), replace(self._encoding, needed=None), taken)
        return frame

    def _moment(self) -> Moment:
        self.seq += 1
        return Moment(self.seq, self._clock.unix_ns(), self._clock.monotonic_ns())

    def _develop(self, source: Source, taken: Moment) -> Frame | None:
        """The frame of a grabbed picture; None, and counted, when there is none."""
        dropped = FAILED
        try:
            self.newest = frame_from_picture(source.retrieve(), self._encoding, taken, source.full_size)
            self._damaged_since = None
            dropped = ""
            return self.newest
        except Malformed as error:
            dropped = DAMAGED
            self._bear(error, taken.mono_ns)
            return None
        finally:
            if dropped:
                self._tally.count_dropped(dropped)

    def _bear(self, error: Malformed, now: int) -> None:
        """One damaged picture is nothing; a run of them is a lost source."""
        if self._said_ns is None or now - self._said_ns >= _SAID_EVERY:
            self._said_ns = now
            log.warning("camera %s gave a damaged picture, which is dropped: %s", self._camera, error)
        self._damaged_since = self._damaged_since or now
        if now - self._damaged_since > self._patience * _SECOND:
            raise Unavailable(f"no whole picture for {self._patience:g} s: {error}") from error
