"""core-metadata: what we add, find, change and are refused."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
from edgex_kit.clients.metadata import Metadata
from edgex_kit.wire.devices import (
    Device,
    DeviceProfile,
    DeviceResource,
    DeviceService,
    DiscoveredDevice,
    ProvisionWatcher,
    ResourceProperties,
)
from edgex_kit.wire.errors import Conflict, Invalid, NotFound, Unreachable
from edgex_standin.address import free_port

pytestmark = pytest.mark.integration


class Edgex(Protocol):
    metadata: str


def metadata_at(url: str, **options: Any) -> Metadata:
    async def there() -> str:
        return url

    return Metadata(there, **options)


@pytest.fixture(params=[False, True], ids=["raw", "escaped"])
async def metadata(edgex: Edgex, request: pytest.FixtureRequest) -> AsyncIterator[Metadata]:
    client = metadata_at(edgex.metadata, escape=request.param)
    yield client
    client.close()


def a_profile(name: str) -> DeviceProfile:
    gain = DeviceResource(name="Gain", properties=ResourceProperties(value_type="Uint8", read_write="RW"))
    return DeviceProfile(name=name, manufacturer="Acme", device_resources=(gain,))


def a_service(name: str, **fields: Any) -> DeviceService:
    fields = {"base_address": "http://localhost:59985", "admin_state": "UNLOCKED", "properties": {}, **fields}
    return DeviceService(name=name, **fields)


def a_device(name: str, service: str, profile: str = "", **fields: Any) -> Device:
    fields = {"admin_state": "UNLOCKED", "operating_state": "UP", "protocols": {}, "properties": {}, **fields}
    return Device(name=name, service_name=service, profile_name=profile, **fields)


async def provisioned(metadata: Metadata, name: str) -> None:
    """A service, a profile and a device, all of one name."""
    await metadata.put_service(a_service(name))
    await metadata.add_profiles([a_profile(name)])
    await metadata.add_devices([a_device(name, name, name)], bypass_validation=True)


async def test_the_version_is_core_metadatas_own(metadata: Metadata) -> None:
    assert (await metadata.version()).startswith("4.")


async def test_what_was_added_is_found_again(metadata: Metadata, unique: str) -> None:
    await provisioned(metadata, unique)
    device = await metadata.device(unique)
    assert (device.name, device.service_name, device.profile_name) == (unique, unique, unique)
    assert [it.name for it in await metadata.devices_of(unique)] == [unique]
    profile = await metadata.profile(unique)
    assert profile.resource("Gain") is not None
    service = await metadata.service(unique)
    assert service is not None
    assert service.base_address == "http://localhost:59985"


async def test_what_is_not_there_is_not_found(metadata: Metadata, unique: str) -> None:
    for missing in (metadata.device(unique), metadata.profile(unique), metadata.delete_device(unique)):
        with pytest.raises(NotFound, match=unique):
            await missing
    assert await metadata.service(unique) is None
    assert await metadata.devices_of(unique) == []
    assert await metadata.watchers_of(unique) == []


async def test_any_name_goes_through_a_path(metadata: Metadata, unique: str) -> None:
    name = f"a/b c+ü%2F {unique}"
    await metadata.put_service(a_service(unique))
    await metadata.add_devices([a_device(name, unique)], bypass_validation=True)
    assert (await metadata.device(name)).name == name
    await metadata.delete_device(name)
    with pytest.raises(NotFound):
        await metadata.device(name)


async def test_more_than_a_page_of_devices_is_listed(metadata: Metadata, unique: str) -> None:
    await metadata.put_service(a_service(unique))
    names = [f"{unique}-{number}" for number in range(25)]
    await metadata.add_devices([a_device(name, unique) for name in names], bypass_validation=True)
    assert sorted(it.name for it in await metadata.devices_of(unique)) == sorted(names)


async def test_what_is_there_already_is_left_alone(metadata: Metadata, unique: str) -> None:
    await provisioned(metadata, unique)
    await provisioned(metadata, unique)
    watcher = ProvisionWatcher(
        name=unique,
        service_name=unique,
        identifiers={"Path": "/dev/video.*"},
        admin_state="UNLOCKED",
        discovered_device=DiscoveredDevice(profile_name=unique, admin_state="UNLOCKED", properties={}),
    )
    await metadata.add_watchers([watcher])
    await metadata.add_watchers([watcher])
    assert [it.name for it in await metadata.watchers_of(unique)] == [unique]


async def test_a_refused_item_is_named_with_the_reason(metadata: Metadata, unique: str) -> None:
    await metadata.put_service(a_service(unique))
    device = a_device(unique, unique, "no-such-profile")
    with pytest.raises(Invalid, match=f"core-metadata refused '{unique}': .*no-such-profile"):
        await metadata.add_devices([device], bypass_validation=True)


async def test_no_items_are_no_call(unique: str) -> None:
    metadata = metadata_at(f"http://127.0.0.1:{free_port('127.0.0.1')}")
    await metadata.add_devices([])
    with pytest.raises(Unreachable, match="core-metadata"):
        await metadata.add_devices([a_device(unique, unique)])
    metadata.close()


async def test_a_locked_service_stays_locked_when_it_starts_again_at_a_new_address(
    metadata: Metadata, unique: str
) -> None:
    assert (await metadata.put_service(a_service(unique, labels=("a",)))).admin_state == "UNLOCKED"
    body = {"name": unique, "adminState": "LOCKED"}
    await metadata._each("PATCH", "/api/v3/deviceservice", "service", [body])
    now = await metadata.put_service(a_service(unique, base_address="http://other:1", labels=("b",)))
    assert now.admin_state == "LOCKED"
    kept = await metadata.service(unique)
    assert kept is not None
    assert (kept.base_address, kept.labels, kept.admin_state) == ("http://other:1", ("b",), "LOCKED")


async def test_a_device_is_changed_field_by_field(metadata: Metadata, unique: str) -> None:
    await provisioned(metadata, unique)
    await metadata.patch_device(unique, operatingState="DOWN", labels=["x"])
    device = await metadata.device(unique)
    assert (device.operating_state, device.labels, device.profile_name) == ("DOWN", ("x",), unique)


async def test_a_profile_is_replaced(metadata: Metadata, unique: str) -> None:
    await metadata.add_profiles([a_profile(unique)])
    stored = await metadata.profile(unique)
    renamed = DeviceProfile(name=unique, id=stored.id, manufacturer="Other", device_resources=stored.device_resources)
    await metadata.put_profile(renamed)
    assert (await metadata.profile(unique)).manufacturer == "Other"


async def test_a_parent_cannot_be_deleted_before_its_children(metadata: Metadata, unique: str) -> None:
    await metadata.put_service(a_service(unique))
    child = a_device(f"{unique}-child", unique, parent=unique)
    await metadata.add_devices([a_device(unique, unique), child], bypass_validation=True)
    with pytest.raises(Conflict):
        await metadata.delete_device(unique)


async def test_a_service_that_moves_is_followed(edgex: Edgex) -> None:
    urls = [f"http://127.0.0.1:{free_port('127.0.0.1')}", edgex.metadata]

    async def there() -> str:
        return urls[0]

    metadata = Metadata(there)
    with pytest.raises(Unreachable):
        await metadata.version()
    del urls[0]
    assert await metadata.version()
    metadata.close()
