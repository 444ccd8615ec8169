"""device_camera.sources.folder: pictures in turn, JPEG byte for byte."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from device_camera.frame import Encoding, Pixels, encode_jpeg
from device_camera.sources.base import Source, SourceEnded, SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.pattern import number_in
from edgex_kit.wire.errors import Malformed, Unavailable

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock

SECOND = 1_000_000_000  # ns


@pytest.fixture
def folder(tmp_path: Path, pictures: list[Pixels]) -> Path:
    """1.jpg 2.jpg 10.jpg with the numbers 1, 2 and 3, and two files that are no pictures."""
    for name, picture in zip(("1.jpg", "2.JPEG", "10.jpg"), pictures, strict=False):
        (tmp_path / name).write_bytes(encode_jpeg(picture, Encoding(quality=90)) + b" trailer")
    (tmp_path / "labels.txt").write_text("person")
    (tmp_path / ".hidden.jpg").write_bytes(b"x")
    return tmp_path


def taken(source: Source) -> bytes | Pixels:
    assert source.grab()
    return source.retrieve()


def test_jpegs_pass_through_byte_for_byte_in_natural_order(folder: Path, clock: "FakeClock") -> None:
    with open_source(parse_source(str(folder)), SourceOptions(), clock) as source:
        assert source.is_jpeg
        shown = [taken(source) for _ in range(4)]
    assert shown == [(folder / name).read_bytes() for name in ("1.jpg", "2.JPEG", "10.jpg", "1.jpg")]


def test_real_pictures_pass_through_byte_for_byte(media: Path, clock: "FakeClock") -> None:
    folder = media / "images" / "ovms"
    names = sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".jpeg"})
    with open_source(parse_source(f"file:{folder}"), SourceOptions(), clock) as source:
        assert [taken(source) for _ in names] == [path.read_bytes() for path in names]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
def test_other_pictures_are_decoded(suffix: str, tmp_path: Path, pictures: list[Pixels], clock: "FakeClock") -> None:
    cv2.imwrite(str(tmp_path / f"a{suffix}"), pictures[3])
    with open_source(parse_source(str(tmp_path)), SourceOptions(), clock) as source:
        assert not source.is_jpeg
        picture = taken(source)
    assert isinstance(picture, np.ndarray)
    assert number_in(picture) == 4


def test_a_jpeg_under_another_name_passes_through(tmp_path: Path, pictures: list[Pixels], clock: "FakeClock") -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    (tmp_path / "a.png").write_bytes(jpeg)
    with open_source(parse_source(str(tmp_path)), SourceOptions(), clock) as source:
        assert taken(source) == jpeg


def test_a_single_picture_is_shown_over_and_over(folder: Path, clock: "FakeClock") -> None:
    with open_source(parse_source(str(folder / "1.jpg")), SourceOptions(), clock) as source:
        assert taken(source) == taken(source) == (folder / "1.jpg").read_bytes()


def test_pictures_come_at_the_frames_a_second_asked_for(folder: Path, clock: "FakeClock") -> None:
    with open_source(parse_source(str(folder)), SourceOptions(fps=4), clock) as source:
        source.grab()
        start = clock.now
        for _ in range(8):
            source.grab()
        assert clock.now - start == 2 * SECOND
        assert source.adapt(SourceOptions(fps=20))
        for _ in range(20):
            source.grab()
        assert clock.now - start == 3 * SECOND


def test_a_folder_shown_once_ends(folder: Path, clock: "FakeClock") -> None:
    with open_source(parse_source(str(folder)), SourceOptions(loop=False), clock) as source:
        for _ in range(3):
            source.grab()
        with pytest.raises(SourceEnded):
            source.grab()


def test_pictures_that_come_and_go_are_seen_in_the_next_round(folder: Path, clock: "FakeClock") -> None:
    with open_source(parse_source(str(folder)), SourceOptions(), clock) as source:
        taken(source)
        (folder / "2.JPEG").unlink()
        (folder / "3.jpg").write_bytes(new := (folder / "1.jpg").read_bytes() + b"new")
        source.grab()
        with pytest.raises(Malformed, match="removed before it was shown"):
            source.retrieve()
        taken(source)
        assert [taken(source) for _ in range(2)] == [(folder / "1.jpg").read_bytes(), new]


def test_a_file_that_is_no_picture_is_malformed_and_named(folder: Path, clock: "FakeClock") -> None:
    (folder / "0.png").write_bytes(b"words")
    with open_source(parse_source(str(folder)), SourceOptions(), clock) as source:
        assert source.grab()
        with pytest.raises(Malformed, match=r"0\.png"):
            source.retrieve()
        assert taken(source) == (folder / "1.jpg").read_bytes()


def test_a_folder_without_pictures_is_unavailable(tmp_path: Path, clock: "FakeClock") -> None:
    with (
        pytest.raises(Unavailable, match="no pictures in it"),
        open_source(parse_source(str(tmp_path)), SourceOptions(), clock),
    ):
        pass


def test_a_removed_folder_is_lost(folder: Path, clock: "FakeClock") -> None:
    with open_source(parse_source(str(folder)), SourceOptions(), clock) as source:
        taken(source)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        source.grab()
        with pytest.raises(Unavailable, match="no such file"):
            source.retrieve()
        folder.mkdir()


@pytest.mark.fault(3)
def test_a_file_over_the_limit_is_not_read(folder: Path, clock: "FakeClock") -> None:
    with (folder / "0.jpg").open("wb") as huge:
        huge.truncate(3 << 30)  # sparse: it takes no room on the disk
    with open_source(parse_source(str(folder)), SourceOptions(), clock) as source:
        source.grab()
        with pytest.raises(Malformed, match="MaxSize"):
            source.retrieve()
        assert taken(source) == (folder / "1.jpg").read_bytes()
