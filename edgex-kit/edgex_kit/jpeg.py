"""The JPEG rules of both services: header, limits before decoding, end of the picture. Pure: nothing is decoded.

Markers and segments are those of ITU-T T.81, annex B; orientation is EXIF 2.3, 4.6.4.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from edgex_kit.wire.errors import Malformed

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
DHT, SOS, APP1 = 0xC4, 0xDA, 0xE1
UPRIGHT = 1
BLOCK_ROWS = 16
"""Rows that a JPEG codes at once, at the most. A decoded picture that lacks more rows at its bottom is damaged in both
services; one that lacks fewer, or only its end marker, is used."""

_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RSTn (table B.1)
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {DHT, 0xC8, 0xCC})
_MOST_SKIPPED = 256  # bytes between two segments
_MOST_MARKERS = 10_000  # before the picture data, fill bytes included; real pictures have some ten, or hundred
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_TIFF_ORDERS = {b"Exif\0\0II*\0": "<", b"Exif\0\0MM\0*": ">"}
_ORIENTATION, _SHORT, _ENTRY_BYTES = 0x0112, 3, 12
_FIRST_SIDEWAYS, _LAST_ORIENTATION = 5, 8


class Limits(NamedTuple):
    """What a picture may cost. 8K video is 33 million pixels; libjpeg writes 10 scans, optimisers some more."""

    pixels: int = 50_000_000
    scans: int = 32
    size: int = 32 << 20  # bytes


LIMITS = Limits()


class JpegHeader(NamedTuple):
    """What a JPEG says before its picture data."""

    width: int  # pixels, as coded
    height: int
    orientation: int  # 1 to 8 of EXIF; UPRIGHT where nothing is said
    scan: int  # where the picture data begins
    has_scans: bool  # progressive, or one scan a colour: the picture data is read several times

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) once the picture is turned as its orientation says: the size that people and models see."""
        return (self.height, self.width) if self.orientation >= _FIRST_SIDEWAYS else (self.width, self.height)


def read_header(data: bytes | memoryview) -> JpegHeader:
    """Read up to the picture data. Raises Malformed for what is no JPEG, or ends or breaks before that."""
    size, orientation, colours, progressive = None, UPRIGHT, 0, False
    for marker, start, end in segments(data):
        if marker in _START_OF_FRAME and size is None:
            size, colours, progressive = _frame_size(data, start, end), data[start + 9], marker in _PROGRESSIVE
        elif marker == APP1 and orientation == UPRIGHT:
            orientation = _orientation(bytes(data[start + 4 : end]))
        elif marker == SOS and size is not None:
            return JpegHeader(*size, orientation, end, progressive or data[start + 4] < colours)
    raise Malformed(f"a JPEG of {len(data)} bytes has no frame header (SOF) before its picture data")


def check_limits(data: bytes | memoryview, header: JpegHeader, limits: Limits = LIMITS) -> None:
    """Raises Malformed for a picture that would cost more than `limits` allow."""
    check_size(len(data), header.width, header.height, limits)
    if header.has_scans:
        # In picture data FF is followed by 00 or RSTn, so FF DA is a marker there.
        scans = 1 + bytes(data[header.scan :]).count(b"\xff\xda")
        if scans > limits.scans:
            raise Malformed(f"a JPEG of {scans} scans is over the limit of {limits.scans} (Images.MaxScans)")


def check_size(size: int, width: int, height: int, limits: Limits = LIMITS) -> None:
    """The same for any kind of picture, `size` in bytes. Raises Malformed."""
    if size > limits.size:
        raise Malformed(f"a picture of {size} bytes is over the limit of {limits.size >> 10} KB (Images.MaxSize)")
    if width * height > limits.pixels:
        most = f"{limits.pixels / 1e6:g} million pixels (Images.MaxPixels)"
        raise Malformed(f"a picture of {width}x{height} is over the limit of {most}")


def trimmed(data: bytes, header: JpegHeader | None = None) -> bytes:
    """The JPEG up to and including its end marker: padding behind it is cut, a missing one is added.

    Cameras do both. Whether rows are missing, too, shows only when it is decoded (BLOCK_ROWS). Raises Malformed as
    `read_header` does when no `header` is given.
    """
    scan = header.scan if header else read_header(data).scan
    if data.endswith(EOI, scan):  # searching the picture data is a tenth of what publishing costs
        return data
    end = data.find(EOI, scan)  # one before the scan is a thumbnail's
    return data + EOI if end < 0 else data[: end + len(EOI)]


def segments(data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """(marker, position of its FF, position behind the segment) from SOI up to and including the first SOS.

    Raises Malformed where no segment follows.
    """
    if bytes(data[:2]) != SOI:
        begin = bytes(data[:2]).hex(" ").upper() or "nothing"
        raise Malformed(f"a JPEG begins with FF D8, {len(data)} bytes came that begin with {begin}")
    at = 2
    for _ in range(_MOST_MARKERS):
        if at + 4 > len(data):
            break
        marker = data[at + 1]
        if data[at] != 0xFF:
            at += _skipped(data, at)
        elif marker == 0xFF or marker in _WITHOUT_LENGTH:  # any number of FF may stand before a marker (B.1.1.2)
            at += 1 if marker == 0xFF else 2
        else:
            end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
            if end > len(data) or marker == EOI[1]:
                break
            yield marker, at, end
            if marker == SOS:
                return
            at = end
    raise Malformed(f"a JPEG of {len(data)} bytes ends within its headers")


def _skipped(data: bytes | memoryview, at: int) -> int:
    """Bytes up to the next marker, which libjpeg skips (jdmarker.c, next_marker). Raises Malformed for too many."""
    skipped = bytes(data[at : at + _MOST_SKIPPED]).find(0xFF)
    if skipped < 0:
        raise Malformed(f"a JPEG has {data[at]:02X} at byte {at}, where a marker is expected")
    return skipped


def _frame_size(data: bytes | memoryview, start: int, end: int) -> tuple[int, int]:
    if end - start < 10:
        raise Malformed(f"a JPEG has a frame header of {end - start} bytes")
    height, width = int.from_bytes(data[start + 5 : start + 7]), int.from_bytes(data[start + 7 : start + 9])
    if not width or not height:
        raise Malformed(f"a JPEG says that it is {width}x{height}")
    return width, height


def _orientation(segment: bytes) -> int:
    """Of an APP1 segment's content; UPRIGHT for what says nothing, or points behind its end."""
    order = _TIFF_ORDERS.get(segment[:10])
    if order is None:
        return UPRIGHT
    tiff = segment[6:]
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        entries = (struct.unpack_from(f"{order}HHIH", tiff, at + 2 + _ENTRY_BYTES * index) for index in range(count))
        said = next((value for tag, kind, _, value in entries if (tag, kind) == (_ORIENTATION, _SHORT)), UPRIGHT)
    except struct.error:
        return UPRIGHT
    return said if UPRIGHT <= said <= _LAST_ORIENTATION else UPRIGHT
