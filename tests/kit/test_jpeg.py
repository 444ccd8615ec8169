"""JPEG headers, limits and ends, on bytes made by hand: nothing is decoded."""

import struct

import pytest
from edgex_kit.jpeg import EOI, SOI, Limits, check_limits, read_header, trimmed
from edgex_kit.wire.errors import Malformed

_DATA = bytes(range(64)) * 4


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", 2 + len(body)) + body


def _sof(width: int = 320, height: int = 240, kind: int = 0xC0, colours: int = 3) -> bytes:
    return _segment(kind, struct.pack(">BHHB", 8, height, width, colours) + bytes(3 * colours))


def _sos(colours: int = 3) -> bytes:
    return _segment(0xDA, bytes((colours,)) + bytes(2 * colours + 3))


def _exif(order: str, orientation: int, at: int = 8) -> bytes:
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(f"{order}HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    return _segment(0xE1, b"Exif\0\0" + head + struct.pack(f"{order}I", at) + entry)


def _jpeg(*before: bytes, scan: bytes = _sos(), end: bytes = EOI) -> bytes:
    return SOI + b"".join(before) + scan + _DATA + end


def test_the_header_says_the_size_and_where_the_picture_data_begins() -> None:
    data = _jpeg(_segment(0xE0, b"JFIF\0"), b"\xff\xff", _sof(), _segment(0xC4, bytes(20)))
    header = read_header(data)
    assert (header.width, header.height, header.has_scans) == (320, 240, False)
    assert data[header.scan :] == _DATA + EOI
    assert read_header(memoryview(data)) == header


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("orientation", "size"), [(1, (320, 240)), (3, (320, 240)), (6, (240, 320)), (9, (320, 240))])
def test_exif_orientation_turns_the_size(order: str, orientation: int, size: tuple[int, int]) -> None:
    assert read_header(_jpeg(_exif(order, orientation), _sof())).upright_size == size


def test_exif_that_points_nowhere_is_upright() -> None:
    assert read_header(_jpeg(_exif("<", 6, at=60_000), _sof())).upright_size == (320, 240)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"GIF89a....",
        SOI,
        SOI + EOI,
        SOI + b"\xff" * 100,
        SOI + b"\x00" * 100,
        _jpeg(),
        _jpeg(_sof(0, 240)),
        _jpeg(_segment(0xC0, b"")),
        _jpeg(_sof())[:20],
        SOI + _sof(),
    ],
)
def test_what_is_no_jpeg_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_header(data)


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (_jpeg(_sof(20_000, 20_000)), Limits()),
        (_jpeg(_sof()), Limits(size=100)),
        (_jpeg(_sof(kind=0xC2), end=_sos(1) * 32 + EOI), Limits()),
        (_jpeg(_sof(), scan=_sos(1), end=_sos(1) * 32 + EOI), Limits()),
    ],
    ids=["pixels", "bytes", "progressive scans", "baseline scans"],
)
def test_a_picture_over_a_limit_is_refused_before_it_is_decoded(data: bytes, limits: Limits) -> None:
    with pytest.raises(Malformed):
        check_limits(data, read_header(data), limits)


def test_pictures_within_the_limits_pass() -> None:
    for data in (_jpeg(_sof(7680, 4320)), _jpeg(_sof(kind=0xC2), end=_sos(1) * 9 + EOI)):
        check_limits(data, read_header(data))


@pytest.mark.parametrize("end", [EOI, EOI + bytes(500), b"", EOI + b"\r\n"])
def test_the_end_is_cut_behind_its_marker_or_completed(end: bytes) -> None:
    thumbnail = _segment(0xE2, _jpeg(_sof(16, 16)))
    assert trimmed(_jpeg(thumbnail, _sof(), end=end)) == _jpeg(thumbnail, _sof())
