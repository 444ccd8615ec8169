"""Settings of a running camera, changed by commands; pure: settings and a value give new settings, or Invalid."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgex_kit.wire.errors import Invalid

from device_camera.frame import Size
from device_camera.protocols import parse_sizing
from device_camera.settings import CameraSettings
from device_camera.sources.factory import Kind

Change = Callable[[CameraSettings, Any], CameraSettings]


def with_fps(settings: CameraSettings, value: Any) -> CameraSettings:
    """Frames published a second; 0 is every captured one."""
    return replace(settings, fps=_number(value))


def with_quality(settings: CameraSettings, value: Any) -> CameraSettings:
    """JPEG quality, 1 to 100."""
    return replace(settings, encoding=replace(settings.encoding, quality=int(_number(value))))


def with_size(settings: CameraSettings, value: Any) -> CameraSettings:
    """`640x480`; a side of 0 follows from the other; empty is the camera's own; `auto` follows who looks at it."""
    size, follows = parse_sizing(str(value))
    needed = settings.encoding.needed if follows else None
    return replace(settings, encoding=replace(settings.encoding, size=size, follows=follows, needed=needed))


def with_need(settings: CameraSettings, needed: Size | None) -> CameraSettings:
    """What those who look at its pictures need now; None while nobody says."""
    return replace(settings, encoding=replace(settings.encoding, needed=needed))


def with_capture_fps(settings: CameraSettings, value: Any) -> CameraSettings:
    """Pictures a second asked of the camera itself."""
    if settings.source.kind is not Kind.V4L2:
        raise Invalid(f"{settings.source} has its own rate; only a V4L2 camera can be asked for one")
    return replace(settings, capture_fps=_number(value))


def with_frame_rate(settings: CameraSettings, value: Mapping[str, Any]) -> CameraSettings:
    """device-usb-camera's body: FrameRateValueNumerator and FrameRateValueDenominator, as text or numbers."""
    above, below = (_number(value.get(f"FrameRateValue{part}", 1)) for part in ("Numerator", "Denominator"))
    if not below:
        raise Invalid("a denominator other than 0 expected")
    return with_capture_fps(settings, above / below)


def with_pixel_format(settings: CameraSettings, value: Mapping[str, Any]) -> CameraSettings:
    """device-usb-camera's body: Width and Height; the pixel format is our own choice, MJPG if there is one."""
    if str(value.get("PixelFormat", "MJPG")).upper() not in ("MJPG", "MJPEG"):
        raise Invalid("PixelFormat cannot be chosen: the service takes MJPG where the camera has it")
    return with_size(settings, f"{value.get('Width', 0)}x{value.get('Height', 0)}")


def with_options(settings: CameraSettings, options: Mapping[str, Any]) -> CameraSettings:
    """The options of StartStreaming; the names are those of device-usb-camera."""
    for name, value in options.items():
        change = _OPTIONS.get(name)
        if change is None:
            raise Invalid(f"unknown option '{name}'; known are {', '.join(_OPTIONS)}")
        settings = change(settings, value)
    return settings


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Invalid(f"a number expected, got {value!r:.80}") from None


_OPTIONS: dict[str, Change] = {
    "OutputFps": with_fps,
    "OutputImageSize": with_size,
    "JpegQuality": with_quality,
    "InputFps": with_capture_fps,
}
