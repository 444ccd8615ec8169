"""A V4L2 camera's properties and controls, read and set by ioctl (linux/videodev2.h).

The node may be open for streaming at the same time, which V4L2 allows for everything in here. Codes and layouts are
those of 64-bit Linux. The keys of properties are device-usb-camera's.
"""

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from edgex_kit.wire.errors import DriverFailed, Invalid, Unavailable

from device_camera.errors import cause_from_error

Call = Callable[[int, bytearray], None]
"""One ioctl: its code, and the struct it reads and fills. Raises OSError."""

_MAJOR = 81  # of V4L2's device numbers (Documentation/admin-guide/devices.txt of Linux)
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


class Node:
    """An open V4L2 node. Every call may raise DriverFailed with the kernel's reason. Blocking."""

    def __init__(self, name: str, call: Call) -> None:
        self._name = name
        self._call = call

    def info(self) -> dict[str, Any]:
        driver, card, bus, version, caps, device_caps = struct.unpack_from(
            "16s32s32sIII", self._ask(_QUERYCAP, bytearray(104))
        )
        return {
            "Driver": _text(driver),
            "Card": _text(card),
            "BusInfo": _text(bus),
            "Version": f"{version >> 16}.{version >> 8 & 255}.{version & 255}",
            "DriverCaps": caps,
            "DeviceCaps": device_caps if caps & _HAS_DEVICE_CAPS else caps,
        }

    def status(self) -> int:
        """0 Ready, 1 No Power, 2 No Signal, 3 No Color: V4L2's bits as device-usb-camera numbers them."""
        (index,) = struct.unpack_from("I", self._ask(_G_INPUT, bytearray(4)))
        (bits,) = struct.unpack_from("I", self._ask(_ENUMINPUT, _packed(80, "I", index)), 56)
        return next((number for number, bit in enumerate((1, 2, 4), 1) if bits & bit), 0)

    def image_formats(self) -> dict[str, Any]:
        formats = [
            {
                "Index": index,
                "Description": text,
                "PixelFormat": fourcc,
                "FrameSizes": [{"Width": width, "Height": height} for width, height in self.sizes(fourcc)],
            }
            for index, (fourcc, text) in enumerate(self._formats())
        ]
        return {"ImageFormats": formats}

    def frame_rate_formats(self) -> dict[str, Any]:
        formats = [
            {
                "Description": text,
                "PixelFormat": fourcc,
                "FrameRates": [
                    {"Width": width, "Height": height, "Rates": list(self._rates(fourcc, width, height))}
                    for width, height in self.sizes(fourcc)
                ],
            }
            for fourcc, text in self._formats()
        ]
        return {"FrameRateFormats": formats}

    def data_format(self) -> dict[str, Any]:
        now = self.pixel_format()
        text = dict(self._formats()).get(now["PixelFormat"], "")
        return {**now, "PixelFormatDescription": text, "FrameRates": [self.frame_rate()]}

    def frame_rate(self) -> dict[str, Any]:
        answer = self._ask(_G_PARM, _packed(204, "I", _CAPTURE))
        return _rate(*struct.unpack_from("II", answer, 12))

    def pixel_format(self) -> dict[str, Any]:
        """How pictures come out now."""
        width, height, code, *more = struct.unpack_from("12I", self._ask(_G_FMT, _packed(208, "I", _CAPTURE)), 8)
        return {
            "Width": width,
            "Height": height,
            "PixelFormat": _fourcc(code),
            "Field": more[0],
            "BytesPerLine": more[1],
            "SizeImage": more[2],
            "Colorspace": more[3],
            "Quantization": more[7],
            "XferFunc": more[8],
            "YcbcrEnc": more[6],
        }

    def sizes(self, fourcc: str) -> Iterator[tuple[int, int]]:
        """Every size of a format; of a range, its smallest and its largest."""
        for answer in self._list(_ENUM_FRAMESIZES, 44, _code(fourcc)):
            kind, *numbers = struct.unpack_from("I6I", answer, 8)
            if kind == _DISCRETE:
                yield numbers[0], numbers[1]
            else:  # min, max and step of width, then of height
                yield numbers[0], numbers[3]
                yield numbers[1], numbers[4]
                return

    def _formats(self) -> Iterator[tuple[str, str]]:
        """(fourcc, description) of every format the camera can give."""
        for answer in self._list(_ENUM_FMT, 64, _CAPTURE):
            description, code = struct.unpack_from("32sI", answer, 12)
            yield _fourcc(code), _text(description)

    def _rates(self, fourcc: str, width: int, height: int) -> Iterator[dict[str, Any]]:
        """Every frame rate of a size; of a range, its two ends."""
        for answer in self._list(_ENUM_FRAMEINTERVALS, 52, _code(fourcc), width, height):
            kind, *numbers = struct.unpack_from("I6I", answer, 16)
            yield _rate(numbers[0], numbers[1])
            if kind != _DISCRETE:
                yield _rate(numbers[2], numbers[3])
                return

    def control(self, name: str) -> int:
        """The value of one of CONTROLS. Raises Invalid when the camera has none."""
        self._range(name)
        return int(struct.unpack_from("Ii", self._ask(_G_CTRL, _packed(8, "I", CONTROLS[name])))[1])

    def set_control(self, name: str, value: int) -> None:
        """Set one of CONTROLS. Raises Invalid out of its range or when there is none, DriverFailed when refused."""
        least, most = self._range(name)
        if not least <= value <= most:
            raise Invalid(f"{name} from {least} to {most} expected, got {value}")
        self._ask(_S_CTRL, _packed(8, "Ii", CONTROLS[name], value))

    def _range(self, name: str) -> tuple[int, int]:
        answer = _packed(68, "I", CONTROLS[name])
        try:
            self._call(_QUERYCTRL, answer)
        except OSError as error:
            raise Invalid(f"{self._name} has no {name}") from error
        if struct.unpack_from("I", answer, 56)[0] & _DISABLED:
            raise Invalid(f"{self._name} has no {name}")
        least, most = struct.unpack_from("ii", answer, 40)
        return least, most

    def _ask(self, code: int, buffer: bytearray) -> bytearray:
        try:
            self._call(code, buffer)
        except OSError as error:
            raise DriverFailed(f"{self._name}: {cause_from_error(error)}") from error
        return buffer

    def _list(self, code: int, size: int, *key: int) -> Iterator[bytearray]:
        """The entries of a list, each by its index and the key."""
        for index in range(_MOST):
            buffer = _packed(size, f"{1 + len(key)}I", index, *key)
            try:
                self._call(code, buffer)
            except OSError:  # the end of the list
                return
            yield buffer


def check_node(path: str) -> None:
    """Raise Unavailable for a path that is no V4L2 node: opening another device may do harm, such as a watchdog."""
    try:
        found = os.stat(path)  # noqa: PTH116  of a device, not a file
    except OSError as error:
        raise Unavailable(f"{path}: {cause_from_error(error)}") from error
    if not stat.S_ISCHR(found.st_mode) or os.major(found.st_rdev) != _MAJOR:
        raise Unavailable(f"{path}: not a camera: a V4L2 node such as /dev/video0 expected")
    if not os.access(path, os.R_OK | os.W_OK):
        raise Unavailable(f"{path}: permission denied: is this user in the group of the node (usually video)?")


@contextlib.contextmanager
def open_node(path: str) -> Iterator[Node]:
    """The node at `path` for the length of the block. Raises Unavailable with the cause. Blocking."""
    check_node(path)
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


def _rate(numerator: int, denominator: int) -> dict[str, Any]:
    """Frames a second of an interval in seconds."""
    rate = Fraction(denominator, numerator) if numerator else Fraction(0)
    return {"Numerator": rate.numerator, "Denominator": rate.denominator}


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
