"""What one camera is to do, as a value: read from its device's protocol properties, changed by commands. Pure.

{"Camera": {"Source": "rtsp://10.0.0.9/stream", "SecretName": "gate", "Fps": 5, "Size": "1280x720"}}

core-metadata and its users write numbers and booleans as text as well, so both are accepted.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from edgex_kit.jpeg import LIMITS, Limits
from edgex_kit.supervision import Backoff
from edgex_kit.wire.devices import Device
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid, NotFound

from device_camera.config import CameraDefaults
from device_camera.frame import Encoding, Size
from device_camera.sources.access import UNRESTRICTED, Access
from device_camera.sources.base import Credentials, Kind, SourceOptions, SourceSpec
from device_camera.sources.factory import parse_source

PROTOCOL = "Camera"
FREE_FORM = "CustomMetadata"
_KEYS = {
    *("Source", "SecretName", "Fps", "Size", "Quality", "Chroma", "AutoStreaming", "Loop", "CaptureFps"),
    *("OpenTimeout", "ReadTimeout", "VerifyTls"),
    *("FriendlyName", "CardName", "Port", "SerialNumber"),  # of notes and of discovery
}
_AUTO = "auto"  # the size that the subscribers of the frames request
_TRUE, _FALSE = {"1", "t", "true", "yes", "on"}, {"0", "f", "false", "no", "off"}
_SECRETS = ("password", "passwd", "pwd", "token")

T = TypeVar("T")
GetSecret = Callable[[str], Mapping[str, str]]
"""The keys and values of a secret by its name. Raises NotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings(SourceOptions):
    """One camera: where its pictures come from, how it is opened, and what happens when it is lost."""

    source: SourceSpec
    auto_streaming: bool = True  # streams without a command
    backoff: Backoff = field(default_factory=Backoff)


def check_device(device: Device, defaults: CameraDefaults, access: Access = UNRESTRICTED) -> None:
    """Raise Invalid or Forbidden for a device this service cannot run. A secret may be stored later."""
    properties = _camera_properties(device)
    for key in properties:
        if key.lower() in _SECRETS:
            raise Invalid(f"protocols.Camera.{key}: credentials belong into a secret that SecretName names, not here")
    source = _settings_from(properties, defaults, credentials=None).source
    if source.kind in (Kind.HTTP, Kind.RTSP):
        access.check_host(urlsplit(source.location).hostname or "")
    elif source.kind is Kind.PATH:
        access.check_path(Path(source.location))


def settings_from_device(
    device: Device,
    defaults: CameraDefaults,
    secret: GetSecret,
    limits: Limits = LIMITS,
    access: Access = UNRESTRICTED,
) -> CameraSettings:
    """The settings of a device's camera. Raises Invalid, and NotFound for a secret that is not there."""
    properties = _camera_properties(device)
    credentials = None
    if name := str(properties.get("SecretName", "") or ""):
        keys = secret(name)
        if "username" not in keys or "password" not in keys:
            raise NotFound(f"secret '{name}' needs the keys username and password")
        credentials = Credentials(keys["username"], keys["password"])
    return replace(_settings_from(properties, defaults, credentials), limits=limits, access=access)


def unknown_keys(device: Device) -> dict[str, str]:
    """Keys of protocols.Camera that mean nothing, each with the known key that is nearest, "" if none is near."""
    known = {key.lower(): key for key in _KEYS}
    found = {}
    for key in device.protocols.get(PROTOCOL, {}):
        if key not in _KEYS:
            near = difflib.get_close_matches(key.lower()[:40], known, n=1)
            found[key] = known[near[0]] if near else ""
    return found


def parse_size(text: str) -> Size | None:
    """`640x480`; a missing side follows from the other; None for nothing at all."""
    if not text.strip():
        return None
    width, times, height = text.lower().partition("x")
    try:
        size = int(width or 0), int(height or 0)
    except ValueError:
        times = ""
    if not times:
        raise Invalid(f"a size such as 640x480 or auto expected, got '{text}'")
    return size


def with_fps(settings: CameraSettings, value: Any) -> CameraSettings:
    """Frames published a second; 0 is every captured one."""
    return replace(settings, fps=_number(value))


def with_quality(settings: CameraSettings, value: Any) -> CameraSettings:
    """JPEG quality, 1 to 100."""
    return replace(settings, encoding=replace(settings.encoding, quality=int(_number(value))))


def with_size(settings: CameraSettings, value: Any) -> CameraSettings:
    """`640x480`; a side of 0 follows from the other; empty is the camera's own; `auto` is as subscribers request."""
    size, follows = _parse_sizing(str(value))
    needed = settings.encoding.needed if follows else None
    return replace(settings, encoding=replace(settings.encoding, size=size, follows=follows, needed=needed))


def with_capture_fps(settings: CameraSettings, value: Any) -> CameraSettings:
    """Pictures a second requested of the camera itself."""
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
    changes = {
        "OutputFps": with_fps,
        "OutputImageSize": with_size,
        "JpegQuality": with_quality,
        "InputFps": with_capture_fps,
    }
    for name, value in options.items():
        if name not in changes:
            raise Invalid(f"unknown option '{name}'; known are {', '.join(changes)}")
        settings = changes[name](settings, value)
    return settings


def _camera_properties(device: Device) -> Mapping[str, Any]:
    properties = device.protocols.get(PROTOCOL)
    if not properties or not str(properties.get("Source", "") or "").strip():
        others = ", ".join(sorted(device.protocols)) or "none"
        meant = [key for key, nearest in unknown_keys(device).items() if nearest == "Source"]
        hint = f"protocols.Camera has {meant[0]}" if meant else f"its protocols are: {others}"
        raise Invalid(f"device '{device.name}' needs protocols.Camera.Source; {hint}")
    return properties


def _settings_from(
    properties: Mapping[str, Any], defaults: CameraDefaults, credentials: Credentials | None
) -> CameraSettings:
    def get(key: str, default: T, parse: Callable[[str], T]) -> T:
        value = properties.get(key)
        text = "" if value is None else str(value).strip()
        try:
            return parse(text) if text else default
        except (Invalid, ValueError) as error:
            raise Invalid(f"protocols.Camera.{key}: {error}") from error

    sizing = get("Size", _parse_sizing(defaults.size), _parse_sizing)
    return CameraSettings(
        source=parse_source(str(properties["Source"])),
        fps=get("Fps", defaults.fps, _number),
        encoding=Encoding(get("Quality", defaults.quality, _integer), get("Chroma", defaults.chroma, str), *sizing),
        capture_fps=get("CaptureFps", 0.0, _number),
        loop=get("Loop", True, _boolean),
        credentials=credentials,
        open_timeout=get("OpenTimeout", parse_duration(defaults.open_timeout), parse_duration),
        read_timeout=get("ReadTimeout", parse_duration(defaults.read_timeout), parse_duration),
        verify_tls=get("VerifyTls", True, _boolean),
        auto_streaming=get("AutoStreaming", defaults.auto_streaming, _boolean),
        backoff=Backoff(parse_duration(defaults.reconnect_first), 2.0, parse_duration(defaults.reconnect_most)),
    )


def _parse_sizing(text: str) -> tuple[Size | None, bool]:
    """A size as `parse_size` reads it, or (None, True) for `auto`."""
    return (None, True) if text.strip().lower() == _AUTO else (parse_size(text), False)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Invalid(f"a number expected, got {value!r:.80}") from None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"a whole number expected, got '{text}'") from None


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise Invalid(f"true or false expected, got '{text}'")
