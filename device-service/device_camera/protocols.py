"""What a device's `Camera` protocol properties ask for, as camera settings; pure.

{"Camera": {"Source": "rtsp://10.0.0.9/stream", "SecretName": "gate", "Fps": 5, "Size": "1280x720"}}

core-metadata and its users write numbers and booleans as text as well, so both are taken.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgex_kit.supervision import Backoff
from edgex_kit.wire.devices import Device
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid, NotFound

from device_camera.config import CameraDefaults
from device_camera.frame import Encoding, Size
from device_camera.settings import CameraSettings
from device_camera.sources.factory import Credentials, parse_source

PROTOCOL = "Camera"
AUTO = "auto"  # a size that follows who looks at the pictures
FREE_FORM = "CustomMetadata"
_TRUE, _FALSE = {"1", "t", "true", "yes", "on"}, {"0", "f", "false", "no", "off"}
_SECRETS = ("password", "passwd", "pwd", "token")

T = TypeVar("T")
GetSecret = Callable[[str], Mapping[str, str]]
Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device wants: its camera's settings, and whether it streams by itself."""

    settings: CameraSettings
    auto_streaming: bool


def check_device(device: Device, defaults: CameraDefaults) -> None:
    """Raise Invalid, saying why, for a device this service cannot run. A secret may be stored later."""
    properties = camera_properties(device)
    for key in properties:
        if key.lower() in _SECRETS:
            raise Invalid(f"protocols.Camera.{key}: credentials belong into a secret that SecretName names, not here")
    _asked(properties, defaults, credentials=None)


def asked_of(device: Device, defaults: CameraDefaults, secret: GetSecret) -> Asked:
    """What `device` wants. Raises Invalid, and NotFound for a secret that is not there."""
    properties = camera_properties(device)
    name = str(properties.get("SecretName", "") or "")
    return _asked(properties, defaults, credentials=_credentials(name, secret) if name else None)


def camera_properties(device: Device) -> Properties:
    """The properties under `Camera`. Raises Invalid when there are none."""
    properties = device.protocols.get(PROTOCOL)
    if not properties or not str(properties.get("Source", "") or "").strip():
        others = ", ".join(sorted(device.protocols)) or "none"
        raise Invalid(f"device '{device.name}' needs protocols.Camera.Source; its protocols are: {others}")
    return properties


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


def parse_sizing(text: str) -> tuple[Size | None, bool]:
    """A size as `parse_size` reads it, or `auto`: (None, True) is that it follows who looks at the pictures."""
    is_auto = text.strip().lower() == AUTO
    return (None, True) if is_auto else (parse_size(text), False)


def _asked(properties: Properties, defaults: CameraDefaults, credentials: Credentials | None) -> Asked:
    def get(key: str, default: T, parse: Callable[[str], T]) -> T:
        value = properties.get(key)
        text = "" if value is None else str(value).strip()
        try:
            return parse(text) if text else default
        except (Invalid, ValueError) as error:
            raise Invalid(f"protocols.Camera.{key}: {error}") from error

    sizing = get("Size", parse_sizing(defaults.size), parse_sizing)
    settings = CameraSettings(
        source=parse_source(str(properties["Source"])),
        fps=get("Fps", defaults.fps, _number),
        encoding=Encoding(get("Quality", defaults.quality, _integer), get("Chroma", defaults.chroma, str), *sizing),
        capture_fps=get("CaptureFps", 0.0, _number),
        loop=get("Loop", True, _boolean),
        credentials=credentials,
        open_timeout=get("OpenTimeout", parse_duration(defaults.open_timeout), parse_duration),
        read_timeout=get("ReadTimeout", parse_duration(defaults.read_timeout), parse_duration),
        verify_tls=get("VerifyTls", True, _boolean),
        backoff=Backoff(parse_duration(defaults.reconnect_first), 2.0, parse_duration(defaults.reconnect_most)),
    )
    return Asked(settings, get("AutoStreaming", defaults.auto_streaming, _boolean))


def _credentials(name: str, secret: GetSecret) -> Credentials:
    held = secret(name)
    if "username" not in held or "password" not in held:
        raise NotFound(f"secret '{name}' needs the keys username and password")
    return Credentials(held["username"], held["password"])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"a number expected, got '{text}'") from None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"a whole number expected, got '{text}'") from None


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise Invalid(f"true or false expected, got '{text}'")
