"""The parts of a device-camera of the test's own, connected as `serve` does it, without HTTP and core-metadata."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import yaml
from device_camera.cameras import Cameras, open_cameras
from device_camera.capture.camera import Camera
from device_camera.config import CameraService
from device_camera.discovery import Discovery, discovery_routes
from device_camera.driver import CameraDriver, CameraStates
from device_camera.metrics import Meters
from device_camera.publisher import FrameStream, StatusEvents
from device_camera.settings import settings_from_device
from edgex_kit.config.flags import Flags
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.device.operating_state import Operating
from edgex_kit.device.rest_api import command_routes
from edgex_kit.service.rest import build_app
from edgex_kit.service.server import open_server
from edgex_kit.service.service import Service, open_service
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.messages import Event
from edgex_standin.address import Address

OpenService = Callable[..., AbstractAsyncContextManager[Service[CameraService]]]
OpenParts = Callable[..., AbstractAsyncContextManager["Parts"]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What serves commands, and one device, already added."""

    service: Service[CameraService]
    devices: Devices
    cameras: Cameras
    meters: Meters
    commands: Commands
    operating: Operating
    state_events: StatusEvents
    outbox: Outbox
    device: Device

    @property
    def name(self) -> str:
        return self.device.name

    @property
    def camera(self) -> Camera:
        return self.cameras.get(self.name)

    def put(self, **properties: Any) -> None:
        """Give the device other `Camera` properties."""
        self.devices.put(with_camera(self.device, **properties))

    async def read(self, resource: str) -> Any:
        """The value of a resource: an object, or the text on the wire."""
        (reading,) = (await self.commands.read(self.name, resource)).readings
        return reading.object_value if reading.value_type == "Object" else reading.value

    async def write(self, resource: str, value: Any) -> Event | None:
        return await self.commands.write(self.name, resource, {resource: value})

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the REST API, on a real server."""
        routes = [
            *command_routes(self.service, self.commands, self.outbox),
            *discovery_routes(Discovery(self.service, self.devices, list)),
        ]
        async with (
            open_server(build_app(routes, self.service.settings.service), "127.0.0.1", 0) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            yield client


def with_camera(device: Device, **properties: Any) -> Device:
    return msgspec.structs.replace(device, protocols={"Camera": {"Source": "pattern:?fps=50", **properties}})


def service_opener(name: str, folder: Path) -> OpenService:
    """Opens a service by a file in `folder`: `open_camera_service(broker, metadata_url, Section=...)`."""

    @contextlib.asynccontextmanager
    async def open_one(broker: Address, metadata: str = "", **sections: Any) -> AsyncIterator[Service[CameraService]]:
        place = urlsplit(metadata or "http://127.0.0.1:9")
        tree = {
            "Service": {"Host": "127.0.0.1", "Port": 0},
            "MessageBus": {"Host": broker.host, "Port": broker.port},
            "Clients": {"core-metadata": {"Protocol": "http", "Host": place.hostname, "Port": place.port}},
            **sections,
        }
        (folder / "configuration.yaml").write_text(yaml.safe_dump(tree))
        flags = Flags(config_dir=str(folder), service_key=f"device-{name}")
        async with open_service("device-camera", "device-services", CameraService, flags, folder) as service:
            yield service

    return open_one


def parts_opener(
    open_camera_service: OpenService, broker: Address, device: Device, profile: DeviceProfile
) -> OpenParts:
    """Opens the parts: `open_parts({"Section": ...}, metadata_url, Fps=10)`, the last being of the device."""

    @contextlib.asynccontextmanager
    async def open_one(
        sections: Mapping[str, Any] | None = None, metadata: str = "", **properties: Any
    ) -> AsyncIterator[Parts]:
        added = with_camera(device, **properties) if properties else device
        async with open_camera_service(broker, metadata, **(sections or {})) as service:
            devices, outbox = Devices(service.name), Outbox(service)
            operating, state_events = Operating(service, devices), StatusEvents(service, outbox)
            async with open_cameras(
                devices,
                settings_for=lambda it: settings_from_device(it, service.settings.writable.camera, service.secrets.get),
                publish=FrameStream(service, outbox, devices).run,
                listeners=[CameraStates(devices, operating).follow, state_events.follow],
            ) as cameras:
                meters = Meters(devices, cameras, service.metrics)
                commands = Commands(service, devices, CameraDriver(service, devices, cameras, meters), operating)
                assert await service.bus.settle(5)
                devices.put_profile(profile)
                devices.put(added)
                yield Parts(service, devices, cameras, meters, commands, operating, state_events, outbox, added)

    return open_one
