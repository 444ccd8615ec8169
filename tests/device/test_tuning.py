"""Settings of a running camera, changed by commands."""

import pytest
from device_camera import tuning
from device_camera.settings import CameraSettings
from device_camera.sources.factory import parse_source
from edgex_kit.wire.errors import Invalid

PATTERN = CameraSettings(source=parse_source("pattern:"))
USB = CameraSettings(source=parse_source("v4l2:/dev/video0"))


def test_rate_quality_and_size_are_changed_one_by_one() -> None:
    changed = tuning.with_size(tuning.with_quality(tuning.with_fps(PATTERN, 3), 55), "320x240")
    assert (changed.fps, changed.encoding.quality, changed.encoding.size) == (3.0, 55, (320, 240))
    assert changed.encoding.chroma == PATTERN.encoding.chroma
    assert tuning.with_size(changed, "").encoding.size is None


def test_options_of_start_streaming_may_be_text_as_device_usb_camera_has_them() -> None:
    options = {"OutputFps": "10", "OutputImageSize": "640x360", "JpegQuality": "90", "InputFps": "30"}
    changed = tuning.with_options(USB, options)
    assert (changed.fps, changed.capture_fps) == (10.0, 30.0)
    assert (changed.encoding.size, changed.encoding.quality) == ((640, 360), 90)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"Fps": 1}, "unknown option 'Fps'; known are OutputFps"),
        ({"OutputFps": "fast"}, "a number expected, got 'fast'"),
        ({"OutputFps": -1}, "-1"),
        ({"JpegQuality": 0}, "quality"),
        ({"OutputImageSize": "huge"}, "640x480"),
        ({"InputFps": 30}, "only a V4L2 camera"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(options: dict[str, object], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        tuning.with_options(PATTERN, options)


def test_a_frame_rate_is_a_fraction() -> None:
    body = {"FrameRateValueNumerator": "30", "FrameRateValueDenominator": "4"}
    assert tuning.with_frame_rate(USB, body).capture_fps == 7.5
    with pytest.raises(Invalid, match="denominator"):
        tuning.with_frame_rate(USB, {**body, "FrameRateValueDenominator": 0})


def test_a_pixel_format_gives_a_size_and_nothing_else() -> None:
    assert tuning.with_pixel_format(USB, {"Width": "640", "Height": "480"}).encoding.size == (640, 480)
    with pytest.raises(Invalid, match="cannot be chosen"):
        tuning.with_pixel_format(USB, {"PixelFormat": "YUYV"})


def test_a_size_may_follow_those_who_look_and_a_set_one_ends_that() -> None:
    follows = tuning.with_size(tuning.with_size(PATTERN, "320x240"), "Auto")
    assert (follows.encoding.size, follows.encoding.follows) == (None, True)
    needed = tuning.with_need(follows, (534, 300))
    assert (needed.source_options.follows, needed.source_options.needed) == (True, (534, 300))
    fixed = tuning.with_options(needed, {"OutputImageSize": "640x0"})
    assert (fixed.encoding.size, fixed.encoding.follows, fixed.encoding.needed) == ((640, 0), False, None)
    assert tuning.with_options(PATTERN, {"OutputImageSize": "auto"}).encoding.follows
