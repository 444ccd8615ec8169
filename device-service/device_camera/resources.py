"""What the resources of a profile mean: `getFunction` and `setFunction` of their attributes name a row of these tables.

A function gets the device and its camera; what blocks goes to a thread. Errors are the camera's own words.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgex_kit.devices import Device, DeviceResource
from edgex_kit.errors import DriverFailed, EdgexError, Invalid

from device_camera import descriptions
from device_camera.cameras import Cameras
from device_camera.capture import Camera
from device_camera.capture_loop import OFF
from device_camera.frames import Frame
from device_camera.health import State
from device_camera.notes import Notes
from device_camera.protocols import parse_size


@dataclass(frozen=True, slots=True)
class Target:
    """The device a command is about, and what it takes to serve it."""

    device: Device
    camera: Camera
    cameras: Cameras
    notes: Notes
    patience: float  # seconds a function may wait for the camera

    def adjust(self, **changes: Any) -> None:
        """Change the camera's settings."""
        self.cameras.adjust(self.device.name, **changes)


@dataclass(frozen=True, slots=True)
class Picture:
    """A reading that is a frame: its tags travel with it."""

    frame: Frame


Getter = Callable[[Target], Awaitable[Any]]
Setter = Callable[[Target, Any], Awaitable[None]]


async def read_resource(target: Target, resource: DeviceResource) -> Any:
    """The value of a resource. Raises DriverFailed naming it and the cause."""
    getter = GETTERS.get(name := _function(resource, "getFunction"))
    if getter is None:
        raise DriverFailed(f"resource '{resource.name}': getFunction '{name}' is not known")
    try:
        return await getter(target)
    except EdgexError as error:
        raise DriverFailed(f"error reading {resource.name} of device '{target.device.name}' -> {error}") from error


async def write_resource(target: Target, resource: DeviceResource, value: Any) -> None:
    """Write a value. Raises Invalid for one the camera cannot take, DriverFailed with the cause for the rest."""
    setter = SETTERS.get(name := _function(resource, "setFunction"))
    if setter is None:
        raise DriverFailed(f"resource '{resource.name}': setFunction '{name}' is not known")
    try:
        await setter(target, value)
    except Invalid as error:
        raise Invalid(f"{resource.name} of device '{target.device.name}' -> {error}") from error
    except EdgexError as error:
        raise DriverFailed(f"error writing {resource.name} of device '{target.device.name}' -> {error}") from error


def _function(resource: DeviceResource, key: str) -> str:
    return str((resource.attributes or {}).get(key, ""))


def _at_once(read: Callable[[Target], Any]) -> Getter:
    """A getter that waits for nothing."""

    async def getter(target: Target) -> Any:
        return read(target)

    return getter


async def _picture(target: Target) -> Picture:
    return Picture(await asyncio.to_thread(target.camera.snapshot, target.patience))


async def _start(target: Target, options: Any) -> None:
    """Answer after the first frame, or with the true error: then the camera is as it was."""
    camera, before = target.camera, target.camera.settings
    camera.change(_with_options(camera, options or {}))
    was_wanted = camera.is_streaming_wanted
    camera.start_streaming()
    try:
        await asyncio.to_thread(camera.wait_streaming, target.patience)
    except EdgexError:
        if not was_wanted:
            camera.stop_streaming()
        camera.change(before)
        raise


async def _stop(target: Target, _value: Any) -> None:
    target.camera.stop_streaming()


def _with_options(camera: Camera, options: Mapping[str, Any]) -> Any:
    """The camera's settings with the options of StartStreaming; the names are those of device-usb-camera too."""
    settings = camera.settings
    for name, value in options.items():
        change = _OPTIONS.get(name)
        if change is None:
            raise Invalid(f"unknown option '{name}'; known are {', '.join(_OPTIONS)}")
        settings = change(settings, str(value))
    return settings


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"a number expected, got '{text}'") from None


def _encoded(settings: Any, **changes: Any) -> Any:
    return replace(settings, encoding=replace(settings.encoding, **changes))


_OPTIONS: dict[str, Callable[[Any, str], Any]] = {
    "OutputFps": lambda settings, text: replace(settings, fps=_number(text)),
    "InputFps": lambda settings, text: replace(settings, capture_fps=_number(text)),
    "OutputImageSize": lambda settings, text: _encoded(settings, size=parse_size(text)),
    "JpegQuality": lambda settings, text: _encoded(settings, quality=int(_number(text))),
}


def _setter(change: Callable[[Any, Any], Any]) -> Setter:
    """A setter that changes the camera's settings."""

    async def setter(target: Target, value: Any) -> None:
        if value is None:
            raise Invalid("a value expected, got null")
        target.camera.change(change(target.camera.settings, value))

    return setter


def _sized(settings: Any, *, width: int | None = None, height: int | None = None) -> Any:
    """One side set: the other follows the picture's shape. 0 gives the camera's own size back."""
    size = (width or 0, height or 0)
    return _encoded(settings, size=size if any(size) else None)


def _last_error(target: Target) -> str:
    status = target.camera.status
    return "" if status.state is State.STREAMING or status.reason == OFF else status.reason


async def _friendly_name(target: Target, value: Any) -> None:
    await target.notes.put_friendly_name(target.device.name, str(value))


async def _custom_metadata(target: Target, value: Any) -> None:
    await target.notes.put_custom_metadata(target.device.name, value or {})


GETTERS: dict[str, Getter] = {
    "Frame": _picture,
    "Snapshot": _picture,
    "StreamingStatus": _at_once(lambda it: descriptions.streaming_status(it.camera)),
    "StreamURI": _at_once(lambda it: str(it.camera.settings.source)),
    "IsStreaming": _at_once(lambda it: it.camera.status.state is State.STREAMING),
    "LastError": _at_once(_last_error),
    "FrameRateFps": _at_once(lambda it: it.camera.settings.fps),
    "JpegQuality": _at_once(lambda it: it.camera.settings.encoding.quality),
    "FramesCaptured": _at_once(lambda it: it.camera.counters.captured),
    "FramesPublished": _at_once(lambda it: it.camera.counters.published),
    "FramesDropped": _at_once(lambda it: sum(it.camera.counters.dropped.values())),
    "DropReasons": _at_once(lambda it: dict(it.camera.counters.dropped)),
    "FriendlyName": _at_once(lambda it: it.notes.friendly_name(it.device)),
    "CustomMetadata": _at_once(lambda it: it.notes.custom_metadata(it.device)),
}

SETTERS: dict[str, Setter] = {
    "StartStreaming": _start,
    "StopStreaming": _stop,
    "FrameRateFps": _setter(lambda settings, value: replace(settings, fps=float(value))),
    "JpegQuality": _setter(lambda settings, value: _encoded(settings, quality=int(value))),
    "FrameWidth": _setter(lambda settings, value: _sized(settings, width=int(value))),
    "FrameHeight": _setter(lambda settings, value: _sized(settings, height=int(value))),
    "FriendlyName": _friendly_name,
    "CustomMetadata": _custom_metadata,
}
