"""Pictures become frames: a JPEG passes through as it is, pixels are encoded; either can be resized."""

import math
import re
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg
from edgex_kit.jpeg import BLOCK_ROWS, EOI, LIMITS, SOI, UPRIGHT, Limits, check_limits, check_size, read_header
from edgex_kit.wire.errors import Invalid, Malformed
from edgex_kit.wire.messages import new_id
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""One decoded picture: (height, width, 3) BGR, or (height, width) grey."""

Picture: TypeAlias = bytes | Pixels
"""What a source returns: a JPEG as the camera made it, or pixels."""

Size: TypeAlias = tuple[int, int]
"""(width, height) in pixels."""

CHROMA = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
_LARGEST = 65_500  # libjpeg's limit on a side, JPEG_MAX_DIMENSION
_PRINT_COLOURS = ("CMYK", "YCCK")  # colours that simplejpeg does not make BGR
_NO_DATA = 128
_SHORT = 3  # 16 bits in TIFF
_PNM = re.compile(rb"P[1-6]\s(?:\s|#[^\n]*\n)*(\d{1,9})\s(?:\s|#[^\n]*\n)*(\d{1,9})\s")
_WORTH = 0.8  # of the pixels; saving less than a fifth of them does not justify a change


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera, as JPEG, and when it was taken."""

    jpeg: bytes = field(repr=False)
    width: int
    height: int
    seq: int  # counts every captured picture of the camera, published or not
    frame_id: str  # unique
    captured_ns: int  # UNIX time, nanoseconds
    captured_mono_ns: int  # monotonic clock of this machine, nanoseconds
    full_size: Size | None = None  # that the picture could have, of a camera with Size auto

    @property
    def is_whole(self) -> bool:
        """As large as it could be."""
        return self.full_size in (None, (self.width, self.height))


@dataclass(frozen=True, slots=True)
class Moment:
    """When a picture was taken, on both clocks, and its number."""

    seq: int
    unix_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a frame's JPEG is made. Quality and chroma do not touch a JPEG that passes through in its own size."""

    quality: int = 80  # 1..100
    chroma: str = "4:2:0"
    size: Size | None = None  # None: the camera's own; a side of 0 follows from the other
    follows: bool = False  # Size auto: pixels become as small as `needed` allows, a JPEG passes through as it is
    needed: Size | None = None  # by the subscribers; None: no requests

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise Invalid(f"JPEG quality from 1 to 100 expected, got {self.quality}")
        if self.chroma not in CHROMA:
            raise Invalid(f"chroma one of {', '.join(CHROMA)} expected, got {self.chroma!r}")
        if self.size is not None and (not any(self.size) or not all(0 <= side <= _LARGEST for side in self.size)):
            raise Invalid(f"size as width x height up to {_LARGEST} expected, got {self.size[0]}x{self.size[1]}")


def frame_from_picture(
    picture: Picture, encoding: Encoding, taken: Moment, full_size: Size | None = None, limits: Limits = LIMITS
) -> Frame:
    """Pass a JPEG through or encode. `full_size` is of a source that has other modes.

    Width and height are those of the upright picture, as EXIF turns it. Raises Malformed for a damaged picture and for
    one over `limits`.
    """
    jpeg, (width, height) = _jpeg_from_picture(picture, encoding, limits)
    if encoding.follows and not full_size and not isinstance(picture, bytes):
        full_size = picture.shape[1], picture.shape[0]
    return Frame(jpeg, width, height, taken.seq, new_id(), taken.unix_ns, taken.mono_ns, full_size)


def encode_jpeg(pixels: Pixels, encoding: Encoding) -> bytes:
    """`pixels` as JPEG, in their own size. Raises Malformed for an array that is no picture."""
    how = [cv2.IMWRITE_JPEG_QUALITY, encoding.quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, CHROMA[encoding.chroma]]
    try:
        done, jpeg = cv2.imencode(".jpg", pixels, how)
    except cv2.error as error:
        raise Malformed(f"pixels expected, an array of {pixels.shape} {pixels.dtype} came: {error.err}") from error
    if not done:
        raise Malformed(f"an array of {pixels.shape} {pixels.dtype} cannot be encoded as JPEG")
    return bytes(jpeg.data)


def decode_picture(data: bytes, limits: Limits = LIMITS) -> Pixels:
    """Pixels (BGR) of a JPEG, PNG, BMP, TIFF, WebP or PNM. Raises Malformed for anything else and over `limits`."""
    if data.startswith(SOI):
        check_limits(data, read_header(data), limits)
    else:
        check_size(len(data), *picture_size(data), limits)
    return _decoded(data)


def picture_size(data: bytes) -> Size:
    """(width, height) of a PNG, BMP, TIFF, WebP or PNM by its header. Raises Malformed for anything else."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _size_at(">II", data, 16)
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return abs(width), abs(height)  # a negative height: the first row is the top one
        if data.startswith((b"II*\0", b"MM\0*")):
            return _tiff_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if header := _PNM.match(data[:1024]):
            return int(header[1]), int(header[2])
    except struct.error as error:
        raise Malformed(f"a picture of {len(data)} bytes ends within its header") from error
    raise Malformed(f"a JPEG, PNG, BMP, TIFF, WebP or PNM picture expected, {len(data)} bytes came that are none")


def _size_at(layout: str, data: bytes, at: int) -> Size:
    width, height = struct.unpack_from(layout, data, at)
    return width, height


def _tiff_size(data: bytes) -> Size:
    """Of the first image: tags 256 and 257 (TIFF 6.0, section 2)."""
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    sides = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        sides[tag] = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), data, entry + 8)[0]
    return sides.get(256, 0), sides.get(257, 0)


def _webp_size(data: bytes) -> Size:
    """Of a lossy, a lossless or an extended file (RFC 9649, section 2)."""
    match data[12:16]:
        case b"VP8 ":
            width, height = _size_at("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1


def _decoded(data: bytes) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise Malformed(f"a picture expected, {len(data)} bytes came that cannot be decoded: {error.err}") from error
    if pixels is None:
        raise Malformed(f"a picture expected, {len(data)} bytes came that cannot be decoded")
    return np.asarray(pixels, np.uint8)


def _decode_jpeg(jpeg: bytes, *, is_upright: bool) -> Pixels:
    """Pixels (BGR) of a JPEG, upright as EXIF says. Raises Malformed where more than its last rows are missing.

    Many cameras spoil the last row of each picture, and the rest of these is used. simplejpeg keeps libjpeg from
    printing to stderr, as it does when OpenCV decodes; OpenCV gets only what simplejpeg has read before.
    """
    try:
        if simplejpeg.decode_jpeg_header(jpeg)[2] in _PRINT_COLOURS:
            return _decoded(jpeg)
        pixels = simplejpeg.decode_jpeg(jpeg, "BGR")
    except ValueError as fault:
        damage = f"a whole JPEG expected, {len(jpeg)} bytes came that are damaged: {fault}"
        try:
            pixels = simplejpeg.decode_jpeg(jpeg, "BGR", strict=False)
        except ValueError:
            raise Malformed(damage) from fault
        # libjpeg leaves rows without data at the middle of the range
        is_grey = (pixels == _NO_DATA).all(axis=(1, 2))[::-1]
        if is_grey.all() or is_grey.argmin() > BLOCK_ROWS:
            raise Malformed(damage) from fault
    return np.asarray(pixels, np.uint8) if is_upright else _decoded(jpeg)


def _jpeg_from_picture(picture: Picture, encoding: Encoding, limits: Limits) -> tuple[bytes, Size]:
    if isinstance(picture, bytes):
        header = read_header(picture)
        check_limits(picture, header, limits)
        own = header.upright_size
        if not picture.endswith(EOI) and picture.find(EOI, header.scan) < 0:
            picture += EOI  # some cameras leave it out
        if _size_from(own, encoding.size) == own:
            return picture, own
        picture = _decode_jpeg(picture, is_upright=header.orientation == UPRIGHT)
    if not picture.size:
        raise Malformed(f"pixels expected, an empty array of {picture.shape} came")
    height, width = picture.shape[:2]
    own = width, height
    size = size_for(own, encoding.needed) if encoding.follows else _size_from(own, encoding.size)
    return encode_jpeg(_resized(picture, size), encoding), size


def size_for(own: Size, needed: Size | None) -> Size:
    """The smallest size of the shape of `own` that reaches `needed` on both sides; `own` where little would be saved.

    Even sides, since JPEG's colour has half of them.
    """
    if needed is None:
        return own
    width, height = _even(needed[0]), _even(needed[1])
    across, down = (width, _even(own[1] * width / own[0])), (_even(own[0] * height / own[1]), height)
    enough = [size for size in (across, down) if size[0] >= width and size[1] >= height]
    size = min(enough, key=area)
    return size if is_worth_it(size, own) else own


def is_worth_it(size: Size, now: Size) -> bool:
    """Whether `size` is so much smaller than `now` that a change saves at least a fifth."""
    return area(size) <= _WORTH * area(now)


def area(size: Size) -> int:
    """Pixels."""
    return size[0] * size[1]


def _even(side: float) -> int:
    return 2 * math.ceil(side / 2)


def _size_from(own: Size, requested: Size | None) -> Size:
    """The size of the frame; a side of 0 keeps the picture's shape."""
    width, height = requested or own
    if not width:
        width = max(1, round(own[0] * height / own[1]))
    if not height:
        height = max(1, round(own[1] * width / own[0]))
    return width, height


def _resized(pixels: Pixels, size: Size) -> Pixels:
    """Halve as often as possible: linear interpolation averages four pixels, and would skip some in a larger step.

    INTER_AREA, which averages all, costs more at 720p than encoding the whole picture: 6 ms against 0.9.
    """
    now = pixels.shape[1], pixels.shape[0]
    while now != size:
        now = _halved(now[0], size[0]), _halved(now[1], size[1])
        pixels = np.asarray(cv2.resize(pixels, now, interpolation=cv2.INTER_LINEAR), np.uint8)
    return pixels


def _halved(side: int, wanted: int) -> int:
    return max(wanted, side // 2)
