"""The camera half of the device service: what reading, writing and checking mean for a camera."""

from typing import Any

from edgex_kit.device.cache import Devices
from edgex_kit.device.operating_state import Operating
from edgex_kit.service.service import Service
from edgex_kit.wire.devices import Device, DeviceResource

from device_camera.cameras import Cameras
from device_camera.capture.state import State, Status
from device_camera.config import CameraService
from device_camera.metrics import Meters
from device_camera.notes import Notes
from device_camera.protocols import check_device
from device_camera.resources import Target, read_resource, write_resource


class CameraDriver:
    """Serves `edgex_kit.device` with cameras."""

    def __init__(self, service: Service[CameraService], devices: Devices, cameras: Cameras, meters: Meters) -> None:
        self._service = service
        self._cameras = cameras
        self._meters = meters
        self._notes = Notes(service.metadata, devices)

    async def read(self, device: Device, resource: DeviceResource) -> Any:
        """The value of a resource. Raises DriverFailed naming it and the cause."""
        return await read_resource(await self._target(device), resource)

    async def write(self, device: Device, resource: DeviceResource, value: Any) -> None:
        """Raises Invalid for a value the camera cannot take, DriverFailed with the cause for the rest."""
        await write_resource(await self._target(device), resource, value)

    def check(self, device: Device) -> None:
        """Raise Invalid for a device whose protocol properties mean no camera."""
        check_device(device, self._service.settings.writable.camera)

    async def _target(self, device: Device) -> Target:
        camera = await self._cameras.ready(device.name)
        fps = self._meters.capture_fps(camera)
        settings = self._service.settings
        return Target(device, camera, self._notes, fps, settings.patience_s, settings.writable.camera)


class CameraStates:
    """A camera that is lost is DOWN, one that gives frames is UP."""

    def __init__(self, devices: Devices, operating: Operating) -> None:
        self._devices = devices
        self._operating = operating

    def follow(self, name: str, status: Status) -> None:
        """A camera's state has changed."""
        if status.state is State.STREAMING:
            self._operating.want(name, "UP")
        elif status.state is State.LOST:
            self._operating.want(name, "DOWN", status.reason)
        elif status.state is State.STOPPED and self._devices.is_active(name):
            self._operating.want(name, "UP")  # it is switched off: nothing speaks against it any more
