"""What a device's `Camera` protocol properties ask for."""

from collections.abc import Mapping
from typing import Any

import pytest
from device_camera.config import CameraDefaults
from device_camera.protocols import Asked, asked_of, check_device, parse_size
from device_camera.sources.factory import Kind
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


def asked(of: Device, **defaults: Any) -> Asked:
    return asked_of(of, CameraDefaults(**defaults), secret)


def test_defaults_come_from_the_configuration() -> None:
    found = asked(camera(), fps=2.5, quality=70, size="320x0", read_timeout="3s", auto_streaming=False)
    settings = found.settings
    assert (settings.source.kind, settings.fps, settings.encoding.quality) == (Kind.PATTERN, 2.5, 70)
    assert (settings.encoding.size, settings.read_timeout, found.auto_streaming) == ((320, 0), 3.0, False)


@pytest.mark.parametrize("as_text", [True, False])
def test_properties_may_be_text_or_natural(*, as_text: bool) -> None:
    properties: dict[str, Any] = {"Fps": 12.5, "Quality": 60, "Loop": False, "AutoStreaming": True, "CaptureFps": 25}
    if as_text:
        properties = {key: str(value) for key, value in properties.items()}
    found = asked(camera(**properties, Size="640x480", Chroma="4:4:4", OpenTimeout="2s"), auto_streaming=False)
    settings = found.settings
    assert (settings.fps, settings.capture_fps, settings.loop, found.auto_streaming) == (12.5, 25.0, False, True)
    assert (settings.encoding.quality, settings.encoding.size, settings.encoding.chroma) == (60, (640, 480), "4:4:4")
    assert settings.open_timeout == 2.0


def test_empty_properties_are_as_good_as_none() -> None:
    assert asked(camera(Fps="", SecretName="", Quality=None)).settings.fps == 5.0


def test_credentials_come_from_the_secret_of_that_name() -> None:
    credentials = asked(camera(SecretName="gate")).settings.credentials
    assert credentials is not None
    assert (credentials.user, credentials.password) == ("admin", "p@ss:w/rd")


@pytest.mark.parametrize(("name", "text"), [("nobody", "no secret named 'nobody'"), ("half", "username and password")])
def test_a_secret_that_is_not_there_is_named(name: str, text: str) -> None:
    with pytest.raises(NotFound, match=text):
        asked(camera(SecretName=name))
    check_device(camera(SecretName=name), CameraDefaults())  # it may be stored later


@pytest.mark.parametrize(
    ("protocols", "text"),
    [
        ({}, "needs protocols.Camera.Source; its protocols are: none"),
        ({"USB": {"Path": "/dev/video0"}}, "its protocols are: USB"),
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


@pytest.mark.parametrize(
    ("text", "size"), [("640x480", (640, 480)), ("640X480", (640, 480)), ("x480", (0, 480)), ("", None)]
)
def test_a_size_is_two_numbers(text: str, size: tuple[int, int] | None) -> None:
    assert parse_size(text) == size
