"""The properties of a camera as Object readings; keys as in device-usb-camera where the meaning is the same.

Its Objects are keyed by device path, which no rule can address and which changes with the port; ours are not.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol

from edgex_kit.wire.errors import Invalid

from device_camera.capture.camera import Camera
from device_camera.capture.state import State
from device_camera.frame import Size
from device_camera.sources.base import Kind
from device_camera.v4l2.node import Node, open_node


class Description(Protocol):
    """What every kind of source can describe."""

    def info(self) -> dict[str, Any]: ...
    def status(self) -> int: ...
    def image_formats(self) -> dict[str, Any]: ...
    def frame_rate_formats(self) -> dict[str, Any]: ...
    def data_format(self) -> dict[str, Any]: ...
    def frame_rate(self) -> dict[str, Any]: ...
    def pixel_format(self) -> dict[str, Any]: ...


@contextlib.contextmanager
def open_description(camera: Camera) -> Iterator[Description]:
    """The description of this camera. Raises Unavailable when a V4L2 node cannot be opened. Blocking."""
    if camera.settings.source.kind is not Kind.V4L2:
        yield SourceDescription(camera)
        return
    with open_node(camera.settings.source.location) as node:
        yield node


@contextlib.contextmanager
def open_controls(camera: Camera, name: str) -> Iterator[Node]:
    """The node whose controls can be set. Raises Invalid for a source that has none. Blocking."""
    source = camera.settings.source
    if source.kind is not Kind.V4L2:
        raise Invalid(f"{source} has no {name}; only V4L2 cameras have controls")
    with open_node(source.location) as node:
        yield node


class SourceDescription:
    """Of a stream, a file, a folder or a pattern, by the pictures that came."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._facts = camera.facts
        self._size = size_of(camera)

    def info(self) -> dict[str, Any]:
        source = self._camera.settings.source
        return {"Driver": str(source.kind), "Card": str(source), "BusInfo": str(source), "Version": ""}

    def status(self) -> int:
        """As V4L2 numbers it: 0 is ready, 2 no signal."""
        return 2 if self._camera.status.state is State.LOST else 0

    def image_formats(self) -> dict[str, Any]:
        size = {"Width": self._size[0], "Height": self._size[1]}
        one = {"Index": 0, "Description": self._format_name(), "PixelFormat": self._fourcc(), "FrameSizes": [size]}
        return {"ImageFormats": [one]}

    def frame_rate_formats(self) -> dict[str, Any]:
        rate = {"Width": self._size[0], "Height": self._size[1], "Rates": [self.frame_rate()]}
        return {"FrameRateFormats": [{"Description": self._format_name(), "FrameRates": [rate]}]}

    def data_format(self) -> dict[str, Any]:
        return {**self.pixel_format(), "PixelFormatDescription": self._format_name(), "FrameRates": [self.frame_rate()]}

    def frame_rate(self) -> dict[str, Any]:
        return rate_from(Fraction(self._facts.native_fps if self._facts else 0).limit_denominator(1001))

    def pixel_format(self) -> dict[str, Any]:
        return {"Width": self._size[0], "Height": self._size[1], "PixelFormat": self._fourcc()}

    def _fourcc(self) -> str:
        return "MJPG" if self._facts and self._facts.is_jpeg else "BGR3"

    def _format_name(self) -> str:
        return "JPEG as the source encodes it" if self._facts and self._facts.is_jpeg else "decoded pictures"


def streaming_status(camera: Camera, capture_fps: float) -> dict[str, Any]:
    """The reading StreamingStatus: whether frames come, how many and why not."""
    status, counters, settings, facts = camera.status, camera.counters, camera.settings, camera.facts
    return {
        "IsStreaming": status.state is State.STREAMING,
        "State": str(status.state),
        "Error": "" if status.state is State.STREAMING else status.reason,
        "Since": str(status.since_ns),
        "Source": str(settings.source),
        "InputFps": facts.native_fps if facts else 0.0,
        "CaptureFps": capture_fps,
        "InputImageSize": text_from_size(facts.size) if facts else "",
        "OutputFps": settings.fps,
        "OutputImageSize": text_from_size(size_of(camera)),
        "AutoSize": camera.size_note,
        "OutputFrames": counters.published,
        "CapturedFrames": counters.captured,
        "DroppedFrames": dict(counters.dropped),
    }


def size_of(camera: Camera) -> Size:
    """Of the newest frame, or of the open source before there is one; (0, 0) when it is not known."""
    if newest := camera.newest:
        return newest.width, newest.height
    return camera.facts.size if camera.facts else (0, 0)


def text_from_size(size: Size | None) -> str:
    """`640x480`, or nothing when it is not known or the camera's own."""
    return f"{size[0]}x{size[1]}" if size and any(size) else ""


def rate_from(rate: Fraction) -> dict[str, Any]:
    """Frames a second as a fraction, as V4L2 has them."""
    return {"Numerator": rate.numerator, "Denominator": rate.denominator}
