"""Settings of a camera: from a device's `Camera` properties, and changed by commands."""

from collections.abc import Mapping
from typing import Any

import pytest
from device_camera import settings
from device_camera.config import CameraDefaults
from device_camera.settings import CameraSettings, check_device, settings_from_device
from device_camera.sources.base import Kind
from device_camera.sources.factory import parse_source
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import Invalid, NotFound

SECRETS: Mapping[str, Mapping[str, str]] = {
    "gate": {"username": "admin", "password": "p@ss:w/rd"},
    "half": {"username": "admin"},
}


def device(protocols: dict[str, dict[str, Any]]) -> Device:
    return Device(
        name="cam", admin_state="UNLOCKED", operating_state="UP", service_name="device-camera", protocols=protocols
    )


def camera(**properties: Any) -> Device:
    return device({"Camera": {"Source": "pattern:", **properties}})


def secret(name: str) -> Mapping[str, str]:
    if name not in SECRETS:
        raise NotFound(f"no secret named '{name}'")
    return SECRETS[name]


def settings_of(of: Device, **defaults: Any) -> CameraSettings:
    return settings_from_device(of, CameraDefaults(**defaults), secret)


def test_defaults_come_from_the_configuration() -> None:
    found = settings_of(camera(), fps=2.5, quality=70, size="320x0", read_timeout="3s", auto_streaming=False)
    assert (found.source.kind, found.fps, found.encoding.quality) == (Kind.PATTERN, 2.5, 70)
    assert (found.encoding.size, found.read_timeout, found.auto_streaming) == ((320, 0), 3.0, False)


@pytest.mark.parametrize("as_text", [True, False])
def test_properties_may_be_text_or_natural(*, as_text: bool) -> None:
    properties: dict[str, Any] = {"Fps": 12.5, "Quality": 60, "Loop": False, "AutoStreaming": True, "CaptureFps": 25}
    if as_text:
        properties = {key: str(value) for key, value in properties.items()}
    found = settings_of(camera(**properties, Size="640x480", Chroma="4:4:4", OpenTimeout="2s"), auto_streaming=False)
    assert (found.fps, found.capture_fps, found.loop, found.auto_streaming) == (12.5, 25.0, False, True)
    assert (found.encoding.quality, found.encoding.size, found.encoding.chroma) == (60, (640, 480), "4:4:4")
    assert found.open_timeout == 2.0


def test_empty_properties_are_as_good_as_none() -> None:
    assert settings_of(camera(Fps="", SecretName="", Quality=None)).fps == 5.0


def test_credentials_come_from_the_secret_of_that_name() -> None:
    credentials = settings_of(camera(SecretName="gate")).credentials
    assert credentials is not None
    assert (credentials.user, credentials.password) == ("admin", "p@ss:w/rd")


@pytest.mark.parametrize(("name", "text"), [("nobody", "no secret named 'nobody'"), ("half", "username and password")])
def test_a_secret_that_is_not_there_is_named(name: str, text: str) -> None:
    with pytest.raises(NotFound, match=text):
        settings_of(camera(SecretName=name))
    check_device(camera(SecretName=name), CameraDefaults())  # it may be stored later


@pytest.mark.parametrize(
    ("protocols", "text"),
    [
        ({}, "needs protocols.Camera.Source; its protocols are: none"),
        ({"USB": {"Path": "/dev/video0"}}, "its protocols are: USB"),
        ({"Camera": {"source": "pattern:"}}, "needs protocols.Camera.Source; protocols.Camera has source"),
        ({"Camera": {"Source": " "}}, "needs protocols.Camera.Source"),
        ({"Camera": {"Source": "gopher://x"}}, "gopher"),
        ({"Camera": {"Source": "rtsp://me:secret1@host/x"}}, "SecretName"),
        ({"Camera": {"Source": "pattern:", "Fps": "many"}}, "protocols.Camera.Fps: a number expected, got 'many'"),
        ({"Camera": {"Source": "pattern:", "Quality": 1.5}}, "protocols.Camera.Quality: a whole number"),
        ({"Camera": {"Source": "pattern:", "Quality": 500}}, "quality"),
        ({"Camera": {"Source": "pattern:", "Loop": "maybe"}}, "protocols.Camera.Loop: true or false expected"),
        ({"Camera": {"Source": "pattern:", "ReadTimeout": "soon"}}, "protocols.Camera.ReadTimeout"),
        ({"Camera": {"Source": "pattern:", "Size": "big"}}, "protocols.Camera.Size: a size such as 640x480"),
        ({"Camera": {"Source": "pattern:", "password": "secret1"}}, "protocols.Camera.password"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(protocols: dict[str, dict[str, Any]], text: str) -> None:
    with pytest.raises(Invalid, match=text) as caught:
        check_device(device(protocols), CameraDefaults())
    assert "secret1" not in str(caught.value)


PATTERN = CameraSettings(source=parse_source("pattern:"))
USB = CameraSettings(source=parse_source("v4l2:/dev/video0"))


def test_rate_quality_and_size_are_changed_one_by_one() -> None:
    changed = settings.with_size(settings.with_quality(settings.with_fps(PATTERN, 3), 55), "320x240")
    assert (changed.fps, changed.encoding.quality, changed.encoding.size) == (3.0, 55, (320, 240))
    assert changed.encoding.chroma == PATTERN.encoding.chroma
    assert settings.with_size(changed, "").encoding.size is None


def test_options_of_start_streaming_may_be_text_as_device_usb_camera_has_them() -> None:
    options = {"OutputFps": "10", "OutputImageSize": "640x360", "JpegQuality": "90", "InputFps": "30"}
    changed = settings.with_options(USB, options)
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
        settings.with_options(PATTERN, options)


def test_a_frame_rate_is_a_fraction() -> None:
    body = {"FrameRateValueNumerator": "30", "FrameRateValueDenominator": "4"}
    assert settings.with_frame_rate(USB, body).capture_fps == 7.5
    with pytest.raises(Invalid, match="denominator"):
        settings.with_frame_rate(USB, {**body, "FrameRateValueDenominator": 0})


def test_a_pixel_format_gives_a_size_and_nothing_else() -> None:
    assert settings.with_pixel_format(USB, {"Width": "640", "Height": "480"}).encoding.size == (640, 480)
    with pytest.raises(Invalid, match="cannot be chosen"):
        settings.with_pixel_format(USB, {"PixelFormat": "YUYV"})


def test_a_size_may_follow_those_who_look_and_a_set_one_ends_that() -> None:
    follows = settings.with_size(settings.with_size(PATTERN, "320x240"), "Auto")
    assert (follows.encoding.size, follows.encoding.follows) == (None, True)
    fixed = settings.with_options(follows, {"OutputImageSize": "640x0"})
    assert (fixed.encoding.size, fixed.encoding.follows, fixed.encoding.needed) == ((640, 0), False, None)
    assert settings.with_options(PATTERN, {"OutputImageSize": "auto"}).encoding.follows
