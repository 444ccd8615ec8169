"""System events as core-metadata publishes them, followed one after another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from edgex_kit.device.callbacks import SystemEventDoor
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, DiscoveredDevice, ProvisionWatcher
from edgex_kit.wire.messages import SystemEvent

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


class Told:
    """Publishes system events and lets the door follow them."""

    def __init__(self, room: Any) -> None:
        self.room = room

    def say(self, kind: str, action: str, details: Any) -> None:
        name = self.room.service.name
        event = SystemEvent(type=kind, action=action, source="core-metadata", owner=name, details=details)
        self.room.service.bus.publish(f"edgex/system-events/core-metadata/{kind}/{action}/{name}", codec.encode(event))


@asynccontextmanager
async def telling(open_room: OpenRoom, metadata: str = "") -> AsyncIterator[Told]:
    async with open_room(metadata) as room:
        service = room.service
        async with service.bus.messages(service.topics.system_events(service.name)) as messages:
            assert await service.bus.settle(5)
            door = SystemEventDoor(service.metadata, room.devices, service.metrics)
            serving = asyncio.create_task(door.serve(messages))
            try:
                yield Told(room)
            finally:
                serving.cancel()


def is_profile(room: Any, **fields: Any) -> bool:
    found = room.devices.find_profile("vision-camera")
    return found is not None and all(getattr(found, key) == value for key, value in fields.items())


async def test_devices_are_added_changed_and_removed(open_room: OpenRoom, pattern_device: Device) -> None:
    quiet = msgspec.structs.replace(pattern_device, profile_name="")
    async with telling(open_room) as told:
        devices = told.room.devices
        told.say("device", "add", quiet)
        await until_soon(lambda: devices.has(quiet.name), "it is added")
        told.say("device", "update", msgspec.structs.replace(quiet, admin_state="LOCKED"))
        await until_soon(lambda: devices.get(quiet.name).is_locked, "it is locked")
        told.say("device", "update", msgspec.structs.replace(quiet, service_name="another"))
        await until_soon(lambda: not devices.has(quiet.name), "it has moved away")
        told.say("device", "update", quiet)
        await until_soon(lambda: devices.has(quiet.name), "it has moved in")
        told.say("device", "delete", quiet)
        await until_soon(lambda: not devices.has(quiet.name), "it is removed")


async def test_a_device_brings_its_profile_along(
    open_room: OpenRoom, edgex: Any, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with telling(open_room, edgex.metadata) as told:
        await told.room.service.metadata.add_profiles([camera_profile])
        told.say("device", "add", pattern_device)
        await until_soon(lambda: told.room.devices.has(pattern_device.name), "it is added")
        assert is_profile(told.room)


async def test_a_device_whose_profile_cannot_be_had_is_kept(
    open_room: OpenRoom, edgex: Any, pattern_device: Device
) -> None:
    async with telling(open_room, edgex.metadata) as told:
        told.say("device", "add", msgspec.structs.replace(pattern_device, profile_name="nobody-has-this"))
        await until_soon(lambda: told.room.devices.has(pattern_device.name), "it is added")


async def test_profiles_are_followed_where_they_matter(open_room: OpenRoom, camera_profile: DeviceProfile) -> None:
    async with telling(open_room) as told:
        devices = told.room.devices
        told.say("deviceprofile", "update", camera_profile)
        devices.put_profile(msgspec.structs.replace(camera_profile, name="other"))
        told.say("deviceprofile", "update", {"name": "other", "model": "new"})
        await until_soon(lambda: devices.find_profile("other").model == "new", "it is replaced")
        assert devices.find_profile("vision-camera") is None, "nobody here has it"
        told.say("deviceprofile", "delete", {"name": "other"})
        await until_soon(lambda: devices.find_profile("other") is None, "it is gone")


async def test_watchers_and_our_own_record_are_followed(open_room: OpenRoom) -> None:
    async with telling(open_room) as told:
        devices, own = told.room.devices, told.room.service.name
        watcher = ProvisionWatcher(
            name="w",
            service_name=own,
            identifiers={"a": "b"},
            admin_state="UNLOCKED",
            discovered_device=DiscoveredDevice(admin_state="UNLOCKED"),
        )
        told.say("provisionwatcher", "add", watcher)
        await until_soon(lambda: devices.watchers, "it is known")
        told.say("provisionwatcher", "update", msgspec.structs.replace(watcher, service_name="another"))
        await until_soon(lambda: not devices.watchers, "it has moved away")
        told.say("provisionwatcher", "update", watcher)
        await until_soon(lambda: devices.watchers, "it has moved in")
        told.say("provisionwatcher", "delete", watcher)
        await until_soon(lambda: not devices.watchers, "it is gone")
        record = DeviceService(name="another", base_address="http://x", admin_state="LOCKED", labels=("a",))
        told.say("deviceservice", "update", record)
        told.say("deviceservice", "update", msgspec.structs.replace(record, name=own))
        await until_soon(lambda: devices.is_locked, "we are locked")
        assert devices.labels == ("a",)


async def test_an_event_that_makes_no_sense_stops_nothing(open_room: OpenRoom, pattern_device: Device) -> None:
    quiet = msgspec.structs.replace(pattern_device, profile_name="")
    async with telling(open_room) as told:
        told.say("device", "add", {"name": 7})
        told.say("planet", "add", None)
        told.say("device", "explode", quiet)
        told.room.service.bus.publish(f"edgex/system-events/core-metadata/device/add/{quiet.service_name}", b"\x00")
        told.say("device", "add", quiet)
        await until_soon(lambda: told.room.devices.has(quiet.name), "the next one is followed")
        assert told.room.service.metrics.counter("MalformedMessages", door="system events").value == 2
