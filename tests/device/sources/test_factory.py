"""device_camera.sources.factory: the text that chooses a camera, and what is said when it does not open."""

import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from device_camera.errors import cause_from_error
from device_camera.sources.base import Credentials, Kind, SourceOptions, SourceSpec
from device_camera.sources.factory import open_source, parse_source
from edgex_kit.wire.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("v4l2:/dev/video0", Kind.V4L2, "/dev/video0"),
        ("/dev/video12", Kind.V4L2, "/dev/video12"),
        ("/dev/v4l/by-id/usb-Cam-index0", Kind.V4L2, "/dev/v4l/by-id/usb-Cam-index0"),
        ("/dev/shm/x.mp4", Kind.PATH, "/dev/shm/x.mp4"),
        ("rtsp://cam:8554/live?x=1", Kind.RTSP, "rtsp://cam:8554/live?x=1"),
        ("RTSP://cam/live", Kind.RTSP, "RTSP://cam/live"),
        ("http://cam/video", Kind.HTTP, "http://cam/video"),
        ("https://[::1]:8443/video", Kind.HTTP, "https://[::1]:8443/video"),
        ("street.mp4", Kind.PATH, "street.mp4"),
        ("  videos/a b.mp4 ", Kind.PATH, "videos/a b.mp4"),
        ("file:a/b%20c.mp4", Kind.PATH, "a/b%20c.mp4"),
        ("file:///a/b%20c.mp4", Kind.PATH, "/a/b c.mp4"),
        ("file://localhost/a.mp4", Kind.PATH, "/a.mp4"),
        ("pattern:", Kind.PATTERN, ""),
        ("pattern:?size=640x480", Kind.PATTERN, "?size=640x480"),
    ],
)
def test_a_text_names_a_source(text: str, kind: Kind, location: str) -> None:
    assert parse_source(text) == SourceSpec(kind, location)


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "v4l2:", "file:", "rtmp://cam/live", "rtsp://", "http:///x", "rtsp://cam:port/x", "http://cam/a b"),
        *("file://elsewhere/a.mp4", "a\0b.mp4", "pattern:big", "pattern:?size=9", "pattern:?fps=fast", "pattern:?x=1"),
    ],
)
def test_a_text_that_names_no_source_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="expected"):
        parse_source(text)


@pytest.mark.parametrize("url", ["rtsp://admin:hunter2@cam/live", "http://admin:hunter2@cam/v", "rtsp://hunter2@cam/"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid, match="SecretName") as caught:
        parse_source(url)
    assert "hunter2" not in str(caught.value)


def test_a_source_is_written_without_its_secrets() -> None:
    assert "hunter2" not in str(parse_source("http://cam/video?user=me&pwd=hunter2"))
    assert str(parse_source("pattern:?fps=5")) == "pattern:?fps=5"
    assert "hunter2" not in repr(Credentials("me", "hunter2"))


def test_credentials_are_encoded_into_the_url_that_is_opened() -> None:
    login = Credentials("us@er", "p:a/s?s#w %41")
    assert login.inserted("rtsp://[::1]:554/live?a=b") == "rtsp://us%40er:p%3Aa%2Fs%3Fs%23w%20%2541@[::1]:554/live?a=b"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory"), "no such file"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (TimeoutError("timed out"), "timed out"),
        (socket.gaierror(-2, "Name or service not known"), "host not found"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to host"),
        (OSError(), "oserror"),
    ],
)
def test_causes_are_said_in_plain_words(error: OSError, words: str) -> None:
    assert cause_from_error(error) == words


@pytest.mark.parametrize(
    "text", ["/no/such/video.mp4", "/no/such/folder/", "file:/no/such/picture.jpg", "/dev/video99"]
)
def test_a_missing_path_is_said_to_be_missing(text: str, clock: "FakeClock") -> None:
    spec = parse_source(text)
    with pytest.raises(Unavailable) as caught, open_source(spec, SourceOptions(), clock):
        pass
    assert str(caught.value) == f"{spec}: no such file"


@pytest.mark.parametrize("name", ["notes.txt", "empty.mp4", "broken.mp4"])
def test_a_file_that_is_no_video_is_said_to_be_none(name: str, tmp_path: Path, clock: "FakeClock") -> None:
    path = tmp_path / name
    path.write_bytes(b"" if name.startswith("empty") else b"just some words, nothing to see here\n" * 100)
    with (
        pytest.raises(Unavailable, match="not a picture or video"),
        open_source(parse_source(str(path)), SourceOptions(), clock),
    ):
        pass
