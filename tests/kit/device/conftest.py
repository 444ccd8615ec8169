"""A device service of the tests' own: a real service, and a driver whose values are a dict."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from edgex_kit.config.flags import Flags
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.device.operating_state import Operating
from edgex_kit.device.settings import DeviceSettings
from edgex_kit.service.service import Service, open_service
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceResource
from edgex_kit.wire.errors import DriverFailed, Invalid
from edgex_standin.address import Address


@dataclass
class Values:
    """A driver: resources have the values of a dict; what is missing in it fails, what is callable is awaited."""

    values: dict[str, Any] = field(default_factory=lambda: {"Rate": 5.0, "Text": "x", "Number": 1})

    async def read(self, _device: Device, resource: DeviceResource) -> Any:
        if resource.name not in self.values:
            raise DriverFailed(f"resource '{resource.name}' is broken")
        value = self.values[resource.name]
        return await value() if callable(value) else value

    async def write(self, _device: Device, resource: DeviceResource, value: Any) -> None:
        self.values[resource.name] = value

    def check(self, device: Device) -> None:
        if device.name == "bad":
            raise Invalid("it is bad")


@dataclass
class Rig:
    """The parts of a device service."""

    service: Service[DeviceSettings]
    devices: Devices
    operating: Operating
    driver: Values
    commands: Commands
    outbox: Outbox


OpenRig = Callable[..., AbstractAsyncContextManager[Rig]]


def resource(name: str, value_type: str = "String", read_write: str = "RW", **more: Any) -> dict[str, Any]:
    return {"name": name, "properties": {"valueType": value_type, "readWrite": read_write, **more}}


def profile_of(*resources: dict[str, Any], **more: Any) -> DeviceProfile:
    return convert({"name": "p", "deviceResources": list(resources), **more}, DeviceProfile)


@pytest.fixture
def profile() -> DeviceProfile:
    return profile_of(
        resource("Rate", "Float64"), resource("Text"), resource("Number", "Int32"), resource("Broken", "Int32")
    )


@pytest.fixture
def device(unique: str) -> Device:
    return Device(
        name=unique,
        admin_state="UNLOCKED",
        operating_state="UP",
        service_name=f"device-{unique}",
        profile_name="p",
        protocols={},
    )


@pytest.fixture
def open_rig(unique: str, tmp_path: Path, broker: Address, device: Device, profile: DeviceProfile) -> OpenRig:
    """`open_rig(metadata_url, known=False, **sections)`: a connected service, which knows `device` by default."""

    @contextlib.asynccontextmanager
    async def open_one(
        metadata: str = "", *, known: bool = True, broker: Address = broker, **sections: Any
    ) -> AsyncIterator[Rig]:
        place = urlsplit(metadata or "http://127.0.0.1:9")
        tree = {
            "Service": {"Host": "127.0.0.1", "Port": 0},
            "MessageBus": {"Host": broker.host, "Port": broker.port},
            "Clients": {"core-metadata": {"Protocol": "http", "Host": place.hostname, "Port": place.port}},
            **sections,
        }
        (tmp_path / "configuration.yaml").write_text(yaml.safe_dump(tree))
        flags = Flags(config_dir=str(tmp_path), service_key=f"device-{unique}")
        async with open_service("device-x", "device-services", DeviceSettings, flags, tmp_path) as service:
            devices, driver = Devices(service.name), Values()
            operating = Operating(service, devices)
            commands = Commands(service, devices, driver, operating)
            if known:
                devices.put_profile(profile)
                devices.put(device)
            assert await service.bus.settle(5)
            yield Rig(service, devices, operating, driver, commands, Outbox(service))

    return open_one
