"""device_camera.jpeg: what a JPEG says of itself."""

import cv2
import numpy as np
import pytest
from device_camera.frame import Pixels
from device_camera.jpeg import check_jpeg, jpeg_end, jpeg_size, with_huffman_tables
from edgex_kit.wire.errors import Malformed


def jpeg_of(width: int, height: int, *flags: int) -> bytes:
    ramp = np.linspace(0, 255, width * height * 3).astype(np.uint8).reshape(height, width, 3)
    return cv2.imencode(".jpg", ramp, list(flags))[1].tobytes()


def without_tables(jpeg: bytes) -> bytes:
    """The JPEG as USB cameras send it: all DHT segments (FF C4) taken out."""
    out, at = bytearray(jpeg[:2]), 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if jpeg[at + 1] != 0xC4:
            out += jpeg[at:end]
        at = end
    return bytes(out + jpeg[at:])


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (33, 1000)])
@pytest.mark.parametrize("progressive", [0, 1])
def test_the_size_is_read_from_the_header(size: tuple[int, int], progressive: int) -> None:
    jpeg = jpeg_of(*size, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    assert jpeg_size(jpeg) == size
    assert check_jpeg(jpeg) == size


def test_a_jpeg_cut_anywhere_is_malformed() -> None:
    jpeg = jpeg_of(64, 48)
    for length in range(len(jpeg)):
        with pytest.raises(Malformed):
            check_jpeg(jpeg[:length])


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    thumbnail, jpeg = jpeg_of(8, 8), jpeg_of(64, 48)
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    whole = jpeg[:2] + exif + jpeg[2:]
    assert check_jpeg(whole) == (64, 48)
    with pytest.raises(Malformed, match="truncated"):
        check_jpeg(whole[:-2])


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8", b"GIF89a" + bytes(50), b"\xff\xd8\x00\x01\x02\x03", bytes(9)]
)
def test_what_is_no_jpeg_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        jpeg_size(data)


def test_padding_behind_the_end_is_found() -> None:
    jpeg = jpeg_of(64, 48)
    assert jpeg_end(jpeg + bytes(1000)) == len(jpeg)
    assert jpeg_end(jpeg + b"rest of an older picture\xff\xd9") == len(jpeg)


def test_fill_bytes_before_a_marker_are_allowed() -> None:
    jpeg = jpeg_of(64, 48)
    assert check_jpeg(jpeg[:2] + b"\xff\xff" + jpeg[2:]) == (64, 48)


def test_missing_huffman_tables_are_put_back(pictures: list[Pixels]) -> None:
    jpeg = cv2.imencode(".jpg", pictures[0])[1].tobytes()
    bare = without_tables(jpeg)
    assert len(bare) < len(jpeg) - 400
    mended = with_huffman_tables(bare)
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(mended, np.uint8), 1), cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)
    )


def test_own_huffman_tables_are_left_alone() -> None:
    jpeg = jpeg_of(64, 48, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    assert with_huffman_tables(jpeg) is jpeg
