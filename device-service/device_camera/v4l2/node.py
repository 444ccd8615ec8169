"""What a V4L2 camera says of itself and which of its controls can be set: linux/videodev2.h spoken by ioctl.

Opens the node beside whoever streams from it, which V4L2 allows for everything in here. Codes and layouts are those of
64-bit Linux.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgex_kit.wire.errors import DriverFailed, Invalid, Unavailable

from device_camera.sources.factory import cause_from_error

Call = Callable[[int, bytearray], None]
"""One ioctl: its code, and the struct it reads and fills. Raises OSError."""

_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_HAS_DEVICE_CAPS = 0x80000000
_DISABLED = 1  # V4L2_CTRL_FLAG_DISABLED
_DISCRETE = 1  # of frame sizes and intervals
_MOST = 256  # entries of any list; a driver that never ends is cut off

_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_G_FMT = 0xC0D05604
_G_PARM = 0xC0CC5615
_ENUMINPUT = 0xC050561A
_G_CTRL = 0xC008561B
_S_CTRL = 0xC008561C
_QUERYCTRL = 0xC0445624
_G_INPUT = 0x80045626
_ENUM_FRAMESIZES = 0xC02C564A
_ENUM_FRAMEINTERVALS = 0xC034564B

CONTROLS = {
    "Brightness": 0x00980900,
    "Contrast": 0x00980901,
    "Saturation": 0x00980902,
    "Hue": 0x00980903,
    "AutoWhiteBalance": 0x0098090C,
    "Gain": 0x00980913,
    "WhiteBalance": 0x0098091A,
    "Sharpness": 0x0098091B,
    "ExposureMode": 0x009A0901,
    "Exposure": 0x009A0902,
    "Focus": 0x009A090A,
    "AutoFocus": 0x009A090C,
    "Zoom": 0x009A090D,
}


@dataclass(frozen=True, slots=True)
class Capability:
    """Which driver and card a node belongs to."""

    driver: str
    card: str
    bus_info: str
    version: str
    driver_caps: int
    device_caps: int


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How pictures come out now."""

    width: int
    height: int
    fourcc: str
    field: int
    bytes_per_line: int
    size_image: int
    colorspace: int
    quantization: int
    xfer_func: int
    ycbcr_enc: int


class Node:
    """An open V4L2 node. Errors are DriverFailed with the kernel's reason."""

    def __init__(self, name: str, call: Call) -> None:
        self._name = name
        self._call = call

    def capability(self) -> Capability:
        driver, card, bus, version, caps, device_caps = struct.unpack_from(
            "16s32s32sIII", self._ask(_QUERYCAP, bytearray(104))
        )
        number = f"{version >> 16}.{version >> 8 & 255}.{version & 255}"
        own = device_caps if caps & _HAS_DEVICE_CAPS else caps
        return Capability(_text(driver), _text(card), _text(bus), number, caps, own)

    def formats(self) -> Iterator[tuple[str, str]]:
        """(fourcc, description) of every format the camera can give."""
        for index in range(_MOST):
            answer = self._next(_ENUM_FMT, _packed(64, "II", index, _CAPTURE))
            if answer is None:
                return
            description, code = struct.unpack_from("32sI", answer, 12)
            yield _fourcc(code), _text(description)

    def sizes(self, fourcc: str) -> Iterator[tuple[int, int]]:
        """Every size of a format; of a range, its smallest and its largest."""
        for index in range(_MOST):
            answer = self._next(_ENUM_FRAMESIZES, _packed(44, "II", index, _code(fourcc)))
            if answer is None:
                return
            kind, *numbers = struct.unpack_from("I6I", answer, 8)
            if kind == _DISCRETE:
                yield numbers[0], numbers[1]
            else:  # min, max and step of width, then of height
                yield numbers[0], numbers[3]
                yield numbers[1], numbers[4]
                return

    def rates(self, fourcc: str, width: int, height: int) -> Iterator[tuple[int, int]]:
        """Every frame rate of a size as (numerator, denominator) of frames a second; of a range, its two ends."""
        for index in range(_MOST):
            answer = self._next(_ENUM_FRAMEINTERVALS, _packed(52, "IIII", index, _code(fourcc), width, height))
            if answer is None:
                return
            kind, *numbers = struct.unpack_from("I6I", answer, 16)
            yield numbers[1], numbers[0]  # an interval, turned into a rate
            if kind != _DISCRETE:
                yield numbers[3], numbers[2]
                return

    def pixel_format(self) -> PixelFormat:
        answer = self._ask(_G_FMT, _packed(208, "I", _CAPTURE))
        width, height, code, *more = struct.unpack_from("12I", answer, 8)
        field, line, size, colorspace = more[:4]
        return PixelFormat(width, height, _fourcc(code), field, line, size, colorspace, more[7], more[8], more[6])

    def frame_rate(self) -> tuple[int, int]:
        """(numerator, denominator) of frames a second."""
        answer = self._ask(_G_PARM, _packed(204, "I", _CAPTURE))
        numerator, denominator = struct.unpack_from("II", answer, 12)
        return denominator, numerator

    def status(self) -> int:
        """V4L2's input status: 0 is ready, 1 no power, 2 no signal, 4 no colour."""
        (index,) = struct.unpack_from("I", self._ask(_G_INPUT, bytearray(4)))
        return int(struct.unpack_from("I", self._ask(_ENUMINPUT, _packed(80, "I", index)), 56)[0])

    def control(self, name: str) -> int:
        """The value of one of CONTROLS. Raises DriverFailed when the camera has none."""
        self._range(name)
        return int(struct.unpack_from("Ii", self._ask(_G_CTRL, _packed(8, "I", CONTROLS[name])))[1])

    def set_control(self, name: str, value: int) -> None:
        """Set one of CONTROLS. Raises Invalid out of its range, DriverFailed when the camera has none or refuses."""
        least, most = self._range(name)
        if not least <= value <= most:
            raise Invalid(f"{name} from {least} to {most} expected, got {value}")
        self._ask(_S_CTRL, _packed(8, "Ii", CONTROLS[name], value))

    def _range(self, name: str) -> tuple[int, int]:
        answer = self._next(_QUERYCTRL, _packed(68, "I", CONTROLS[name]))
        if answer is None or struct.unpack_from("I", answer, 56)[0] & _DISABLED:
            raise DriverFailed(f"{self._name} has no {name}")
        least, most = struct.unpack_from("ii", answer, 40)
        return least, most

    def _ask(self, code: int, buffer: bytearray) -> bytearray:
        try:
            self._call(code, buffer)
        except OSError as error:
            raise DriverFailed(f"{self._name}: {cause_from_error(error)}") from error
        return buffer

    def _next(self, code: int, buffer: bytearray) -> bytearray | None:
        """None at the end of a list, or for what the camera does not have."""
        try:
            self._call(code, buffer)
        except OSError:
            return None
        return buffer


@contextlib.contextmanager
def open_node(path: str) -> Iterator[Node]:
    """The node at `path` for the length of the block. Raises Unavailable with the cause. Blocking."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{path}: {cause_from_error(error)}") from error
    try:
        yield Node(path, lambda code, buffer: _ioctl(fd, code, buffer))
    finally:
        os.close(fd)


def _ioctl(fd: int, code: int, buffer: bytearray) -> None:
    fcntl.ioctl(fd, code, buffer, True)


def _packed(size: int, layout: str, *values: int) -> bytearray:
    buffer = bytearray(size)
    struct.pack_into(layout, buffer, 0, *values)
    return buffer


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _fourcc(code: int) -> str:
    return code.to_bytes(4, "little").decode("ascii", "replace").strip()


def _code(fourcc: str) -> int:
    return int.from_bytes(fourcc.ljust(4).encode("ascii", "replace"), "little")
