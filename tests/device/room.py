"""A device-camera of the test's own: its service, and the room that serves commands, with nothing around it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from device_camera.cameras import Cameras, open_cameras
from device_camera.config import CameraService
from device_camera.driver import CameraDriver, CameraStates
from device_camera.metrics import Meters
from device_camera.protocols import asked_of
from device_camera.publisher import FrameStream
from device_camera.reports import Reports
from edgex_kit.config.flags import Flags
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.device.operating_state import Operating
from edgex_kit.service.service import Service, open_service
from edgex_standin.address import Address

OpenService = Callable[..., AbstractAsyncContextManager[Service[CameraService]]]
OpenRoom = Callable[..., AbstractAsyncContextManager["Room"]]


@dataclass(frozen=True, slots=True)
class Room:
    """What serves commands, as `serve` puts it together, with nothing around it."""

    service: Service[CameraService]
    devices: Devices
    cameras: Cameras
    meters: Meters
    commands: Commands
    operating: Operating
    states: CameraStates
    reports: Reports
    outbox: Outbox


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


def room_opener(open_camera_service: OpenService, broker: Address) -> OpenRoom:
    """Opens a room: `open_room(metadata_url, Section=...)`."""

    @contextlib.asynccontextmanager
    async def open_one(metadata: str = "", **sections: Any) -> AsyncIterator[Room]:
        async with open_camera_service(broker, metadata, **sections) as service:
            devices, outbox = Devices(service.name), Outbox(service)
            operating, reports = Operating(service, devices), Reports(service, outbox)
            states = CameraStates(devices, operating)
            async with open_cameras(
                devices,
                ask=lambda device: asked_of(device, service.settings.writable.camera, service.secrets.get),
                publish=FrameStream(service, outbox, devices).run,
                tell=[states.follow, reports.follow],
            ) as cameras:
                meters = Meters(devices, cameras, service.metrics)
                commands = Commands(service, devices, CameraDriver(service, devices, cameras, meters), operating)
                assert await service.bus.settle(5)
                yield Room(service, devices, cameras, meters, commands, operating, states, reports, outbox)

    return open_one
