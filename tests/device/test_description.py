"""What a camera says of itself, for sources that are no V4L2 node."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from device_camera.capture.camera import Camera
from device_camera.description import (
    open_controls,
    open_description,
    rate_from,
    size_of,
    streaming_status,
    text_from_size,
)
from device_camera.frame import encode_jpeg
from device_camera.settings import CameraSettings
from device_camera.sources.factory import parse_source
from edgex_kit.wire.errors import Invalid, Unavailable


@pytest.fixture
def folder_camera(tmp_path: Path) -> Iterator[Camera]:
    import numpy as np
    from device_camera.frame import Encoding

    (tmp_path / "1.jpg").write_bytes(encode_jpeg(np.zeros((48, 64, 3), np.uint8), Encoding()))
    with Camera("folder", CameraSettings(source=parse_source(str(tmp_path)), fps=20)) as camera:
        yield camera


def test_nothing_is_known_before_the_first_picture(folder_camera: Camera) -> None:
    assert size_of(folder_camera) == (0, 0)
    with open_description(folder_camera) as description:
        assert description.frame_rate() == {"Numerator": 0, "Denominator": 1}
        assert description.status() == 0


def test_pictures_tell_what_they_are(folder_camera: Camera) -> None:
    folder_camera.start_streaming()
    folder_camera.wait_streaming(5)
    with open_description(folder_camera) as description:
        assert description.info()["Driver"] == "file"
        (one,) = description.image_formats()["ImageFormats"]
        assert one["FrameSizes"] == [{"Width": 64, "Height": 48}]
        (rates,) = description.frame_rate_formats()["FrameRateFormats"][0]["FrameRates"]
        assert (rates["Width"], rates["Height"]) == (64, 48)
        assert description.data_format()["PixelFormat"] == description.pixel_format()["PixelFormat"] == "MJPG"
    status = streaming_status(folder_camera, 19.9)
    assert (status["IsStreaming"], status["OutputImageSize"], status["CaptureFps"]) == (True, "64x48", 19.9)
    assert status["CapturedFrames"] == status["OutputFrames"] + sum(status["DroppedFrames"].values())


def test_a_source_without_controls_says_which_have_them(folder_camera: Camera) -> None:
    with pytest.raises(Invalid), open_controls(folder_camera, "Gain"):
        pass


def test_a_v4l2_camera_that_is_not_there_is_named() -> None:
    camera = Camera("usb", CameraSettings(source=parse_source("/dev/video99")))
    with pytest.raises(Unavailable, match="/dev/video99: no such file"), open_description(camera):
        pass


def test_sizes_and_rates_are_written_as_people_write_them() -> None:
    assert (text_from_size((640, 480)), text_from_size(None), text_from_size((0, 0))) == ("640x480", "", "")
    assert rate_from(Fraction(30000, 1001)) == {"Numerator": 30000, "Denominator": 1001}
