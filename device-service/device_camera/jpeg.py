"""A JPEG's headers, read without decoding: its size, whether it is whole, its Huffman tables."""

import functools
from collections.abc import Iterator

import cv2
import numpy as np
from edgex_kit.wire.errors import Malformed

_SOI = b"\xff\xd8"
_EOI = b"\xff\xd9"
_DHT = 0xC4
_SOS = 0xDA
_BARE = {0x01, *range(0xD0, 0xD8)}  # TEM and RSTn carry no length (ITU-T T.81, table B.1)
_SOF = set(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}  # the frame headers; C4, C8, CC share their range


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """(width, height) in pixels as the frame header says. Raises Malformed when there is none."""
    for marker, start, _ in _segments(jpeg):
        if marker in _SOF:
            return _size_at(jpeg, start)
    raise _no_size()


def check_jpeg(jpeg: bytes) -> tuple[int, int]:
    """(width, height) of a whole JPEG. Raises Malformed for anything else, truncated data included."""
    size, scan = None, len(jpeg)
    for marker, start, end in _segments(jpeg):
        if marker in _SOF and size is None:
            size = _size_at(jpeg, start)
        if marker == _SOS:
            scan = end
    if size is None:
        raise _no_size()
    if not jpeg.endswith(_EOI, scan):  # looking for the marker in the data is a tenth of what publishing costs
        jpeg_end(jpeg)
    return size


def jpeg_end(jpeg: bytes) -> int:
    """Bytes up to and including the end marker; behind it cameras leave padding. Raises Malformed if it is missing."""
    # An end marker before the scan belongs to a thumbnail, one far behind it to an older picture in the same buffer.
    end = jpeg.find(_EOI, _scan(jpeg))
    if end < 0:
        raise Malformed(f"a whole JPEG expected, {len(jpeg)} bytes without its end (EOI) came: truncated")
    return end + len(_EOI)


def with_huffman_tables(jpeg: bytes) -> bytes:
    """`jpeg` with the standard Huffman tables if it has none.

    USB cameras leave them out of MJPG ("AVI1" JPEG, OpenDML 1.02); many decoders then refuse the picture.
    """
    for marker, start, _ in _segments(jpeg):
        if marker == _DHT:
            return jpeg
        if marker == _SOS:
            return jpeg[:start] + _standard_tables() + jpeg[start:]
    return jpeg


def _size_at(jpeg: bytes, start: int) -> tuple[int, int]:
    height = int.from_bytes(jpeg[start + 5 : start + 7])
    width = int.from_bytes(jpeg[start + 7 : start + 9])
    if not width or not height:
        raise Malformed(f"a JPEG with a width and a height expected, its header says {width}x{height}")
    return width, height


def _no_size() -> Malformed:
    return Malformed("a JPEG with a frame header (SOF) expected, none found before the picture data")


def _scan(jpeg: bytes) -> int:
    """Where the picture data begins."""
    return next((end for marker, _, end in _segments(jpeg) if marker == _SOS), len(jpeg))


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, position of its FF, position behind the segment) from SOI up to and including the first SOS."""
    if jpeg[:2] != _SOI:
        raise Malformed(f"a JPEG (FF D8 ...) expected, it begins with {jpeg[:2].hex(' ').upper() or 'nothing'}")
    at = 2
    while at + 4 <= len(jpeg):
        marker = jpeg[at + 1]
        if jpeg[at] != 0xFF:
            raise Malformed(f"a JPEG marker expected at byte {at}, {jpeg[at]:02X} came")
        if marker == 0xFF or marker in _BARE:  # FF FF: fill bytes before a marker
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if end > len(jpeg):
            break
        yield marker, at, end
        if marker == _SOS:
            return
        at = end
    raise Malformed(f"a whole JPEG expected, it ends after {len(jpeg)} bytes within its headers: truncated")


@functools.cache
def _standard_tables() -> bytes:
    """The tables of T.81 K.3: libjpeg writes them when it is not asked for better ones."""
    done, data = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8), [cv2.IMWRITE_JPEG_OPTIMIZE, 0])
    if not done:
        raise Malformed("OpenCV cannot encode JPEG")
    plain = data.tobytes()
    return b"".join(plain[start:end] for marker, start, end in _segments(plain) if marker == _DHT)
