"""Reading, writing and checking cameras for `edgex_kit.device`.

`getFunction` and `setFunction` of a resource's attributes name a row of GETTERS and SETTERS. A function is given the
device and its camera; what blocks runs in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from edgex_kit.device.cache import Devices
from edgex_kit.device.driver import Tagged
from edgex_kit.device.operating_state import Operating
from edgex_kit.service.service import Service
from edgex_kit.wire.devices import Device, DeviceResource
from edgex_kit.wire.errors import DriverFailed, EdgexError, Invalid

from device_camera import settings
from device_camera.cameras import Cameras
from device_camera.capture.camera import Camera
from device_camera.capture.loop import OFF
from device_camera.capture.state import State, Status
from device_camera.config import CameraDefaults, CameraService
from device_camera.description import (
    Description,
    open_controls,
    open_description,
    size_of,
    streaming_status,
    text_from_size,
)
from device_camera.metrics import Meters
from device_camera.notes import Notes
from device_camera.settings import CameraSettings, check_device
from device_camera.v4l2.node import CONTROLS


class CameraDriver:
    """Serves `edgex_kit.device` with cameras."""

    def __init__(self, service: Service[CameraService], devices: Devices, cameras: Cameras, meters: Meters) -> None:
        self._service = service
        self._cameras = cameras
        self._meters = meters
        self._notes = Notes(service.metadata, devices)

    async def read(self, device: Device, resource: DeviceResource) -> Any:
        """The value of a resource. Raises Invalid for one the camera does not have, DriverFailed with the cause."""
        getter = GETTERS.get(name := _function(resource, "getFunction"))
        if getter is None:
            raise DriverFailed(f"resource '{resource.name}': getFunction '{name}' is not known")
        target = await self._target(device)
        try:
            return await getter(target)
        except Invalid as error:
            raise Invalid(f"{resource.name} of device '{device.name}' -> {error}") from error
        except EdgexError as error:
            raise DriverFailed(f"error reading {resource.name} of device '{device.name}' -> {error}") from error

    async def write(self, device: Device, resource: DeviceResource, value: Any) -> None:
        """Raises Invalid for a value the camera cannot take, DriverFailed with the cause for the rest."""
        setter = SETTERS.get(name := _function(resource, "setFunction"))
        if setter is None:
            raise DriverFailed(f"resource '{resource.name}': setFunction '{name}' is not known")
        target = await self._target(device)
        try:
            await setter(target, value)
        except Invalid as error:
            raise Invalid(f"{resource.name} of device '{device.name}' -> {error}") from error
        except EdgexError as error:
            raise DriverFailed(f"error writing {resource.name} of device '{device.name}' -> {error}") from error

    def check(self, device: Device) -> None:
        """Raise Invalid for a device whose protocol properties describe no camera."""
        check_device(device, self._service.settings.writable.camera, self._service.settings.driver.access)

    async def _target(self, device: Device) -> "Target":
        camera = await self._cameras.ready(device.name)
        fps = self._meters.capture_fps(camera)
        configuration = self._service.settings
        return Target(device, camera, self._notes, fps, configuration.patience_s, configuration.writable.camera)


class CameraStates:
    """Sets a device DOWN when its camera is lost, UP when frames come again.

    operatingState is the camera's own, so one that is set by hand against it is set back; adminState is for people.
    """

    def __init__(self, devices: Devices, operating: Operating) -> None:
        self._devices = devices
        self._operating = operating
        self._streaming: set[str] = set()
        devices.on_change(self._correct)

    def _correct(self, name: str) -> None:
        device = self._devices.find(name)
        if device is None:
            self._streaming.discard(name)
        elif name in self._streaming and device.operating_state == "DOWN" and not self._operating.reason(name):
            self._operating.want(name, "UP")

    def follow(self, name: str, status: Status) -> None:
        """A camera's state has changed."""
        (self._streaming.add if status.state is State.STREAMING else self._streaming.discard)(name)
        if status.state is State.STREAMING:
            self._operating.want(name, "UP")
        elif status.state is State.LOST:
            self._operating.want(name, "DOWN", status.reason)
        elif status.state is State.STOPPED and self._devices.is_active(name):
            self._operating.want(name, "UP")  # switched off: a fault of the source is no longer known


@dataclass(frozen=True, slots=True)
class Target:
    """The device a command is about, and what it takes to serve it."""

    device: Device
    camera: Camera
    notes: Notes
    capture_fps: float
    patience: float  # seconds a function may wait for the camera
    defaults: CameraDefaults


Getter = Callable[[Target], Awaitable[Any]]
Setter = Callable[[Target, Any], Awaitable[None]]


def _function(resource: DeviceResource, key: str) -> str:
    return str((resource.attributes or {}).get(key, ""))


def _at_once(read: Callable[[Target], Any]) -> Getter:
    """A getter that does not wait."""

    async def getter(target: Target) -> Any:
        return read(target)

    return getter


async def _picture(target: Target) -> Tagged:
    """A picture, tagged with its size alone: core-data keeps every set of tags of an event that it stores for ever."""
    frame = await asyncio.to_thread(target.camera.snapshot, target.patience)
    return Tagged(frame.jpeg, {"width": frame.width, "height": frame.height})


async def _start(target: Target, options: Any) -> None:
    """Return after the first frame; on an error restore settings and state and raise it."""
    camera, before = target.camera, target.camera.settings
    camera.change(settings.with_options(before, options or {}))
    was_requested = camera.is_streaming_requested
    camera.start_streaming()
    try:
        await asyncio.to_thread(camera.wait_streaming, target.patience)
    except EdgexError:
        if not was_requested:
            camera.stop_streaming()
        camera.change(before)
        raise


async def _stop(target: Target, _value: Any) -> None:
    target.camera.stop_streaming()


def _setter(change: Callable[[CameraSettings, Any], CameraSettings]) -> Setter:
    """A setter that changes the camera's settings, until the device changes or the service restarts."""

    async def setter(target: Target, value: Any) -> None:
        if value is None:
            raise Invalid("a value expected, got null")
        target.camera.change(change(target.camera.settings, value))

    return setter


def _described(read: Callable[[Description], Any]) -> Getter:
    """A getter of the camera's description, read from its driver in a thread."""

    def blocking(camera: Camera) -> Any:
        with open_description(camera) as description:
            return read(description)

    async def getter(target: Target) -> Any:
        return await asyncio.to_thread(blocking, target.camera)

    return getter


def _control(name: str) -> Getter:
    def blocking(camera: Camera) -> int:
        with open_controls(camera, name) as node:
            return node.control(name)

    async def getter(target: Target) -> Any:
        return await asyncio.to_thread(blocking, target.camera)

    return getter


def _control_setter(name: str) -> Setter:
    def blocking(camera: Camera, value: int) -> None:
        with open_controls(camera, name) as node:
            node.set_control(name, value)

    async def setter(target: Target, value: Any) -> None:
        await asyncio.to_thread(blocking, target.camera, int(value))

    return setter


def _last_error(target: Target) -> str:
    status = target.camera.status
    return "" if status.state is State.STREAMING or status.reason == OFF else status.reason


async def _picture_needs(target: Target, value: Any) -> None:
    target.camera.request_sizes(value or {}, target.defaults.lease_s)


async def _friendly_name(target: Target, value: Any) -> None:
    await target.notes.put_friendly_name(target.device.name, str(value))


async def _custom_metadata(target: Target, value: Any) -> None:
    await target.notes.put_custom_metadata(target.device.name, value or {})


GETTERS: dict[str, Getter] = {
    "Frame": _picture,
    "Snapshot": _picture,
    "StreamingStatus": _at_once(lambda it: streaming_status(it.camera, it.capture_fps)),
    "StreamURI": _at_once(lambda it: str(it.camera.settings.source)),
    "IsStreaming": _at_once(lambda it: it.camera.status.state is State.STREAMING),
    "LastError": _at_once(_last_error),
    "CaptureFps": _at_once(lambda it: it.capture_fps),
    "FrameWidth": _at_once(lambda it: size_of(it.camera)[0]),
    "FrameHeight": _at_once(lambda it: size_of(it.camera)[1]),
    "FrameSize": _at_once(lambda it: text_from_size(size_of(it.camera))),
    "FrameRateFps": _at_once(lambda it: it.camera.settings.fps),
    "JpegQuality": _at_once(lambda it: it.camera.settings.encoding.quality),
    "FramesCaptured": _at_once(lambda it: it.camera.counters.captured),
    "FramesPublished": _at_once(lambda it: it.camera.counters.published),
    "FramesDropped": _at_once(lambda it: sum(it.camera.counters.dropped.values())),
    "DropReasons": _at_once(lambda it: dict(it.camera.counters.dropped)),
    "FriendlyName": _at_once(lambda it: it.notes.friendly_name(it.device)),
    "CustomMetadata": _at_once(lambda it: it.notes.custom_metadata(it.device)),
    "CameraInfo": _described(lambda it: it.info()),
    "CameraStatus": _described(lambda it: it.status()),
    "ImageFormats": _described(lambda it: it.image_formats()),
    "FrameRateFormats": _described(lambda it: it.frame_rate_formats()),
    "DataFormat": _described(lambda it: it.data_format()),
    "FrameRate": _described(lambda it: it.frame_rate()),
    "PixelFormat": _described(lambda it: it.pixel_format()),
    **{name: _control(name) for name in CONTROLS},
}

SETTERS: dict[str, Setter] = {
    "StartStreaming": _start,
    "StopStreaming": _stop,
    "FrameRateFps": _setter(settings.with_fps),
    "JpegQuality": _setter(settings.with_quality),
    "FrameSize": _setter(settings.with_size),
    "PictureNeeds": _picture_needs,
    "FrameRate": _setter(settings.with_frame_rate),
    "PixelFormat": _setter(settings.with_pixel_format),
    "FriendlyName": _friendly_name,
    "CustomMetadata": _custom_metadata,
    **{name: _control_setter(name) for name in CONTROLS},
}
