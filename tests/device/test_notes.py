"""What people write on a camera is kept by core-metadata."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from device_camera.notes import Notes
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


async def test_a_name_and_free_keys_are_stored_beside_what_is_there(
    open_room: OpenRoom, edgex: Any, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room(edgex.metadata) as room:
        metadata, name = room.service.metadata, pattern_device.name
        record = DeviceService(name=room.service.name, base_address="http://127.0.0.1:1", admin_state="UNLOCKED")
        await metadata.put_service(record)
        await metadata.add_profiles([camera_profile])
        await metadata.add_devices([pattern_device], bypass_validation=True)
        room.devices.put_profile(camera_profile)
        room.devices.put(await metadata.device(name))
        await room.commands.write(name, "FriendlyName", {"FriendlyName": "The gate"})
        await room.commands.write(name, "CustomMetadata", {"CustomMetadata": {"floor": "2", "door": "left"}})
        await room.commands.write(name, "CustomMetadata", {"CustomMetadata": {"door": "", "lens": 3}})
        stored = await metadata.device(name)
        assert stored.protocols == {
            "Camera": {"Source": "pattern:?fps=50", "Fps": 0, "FriendlyName": "The gate"},
            "CustomMetadata": {"floor": "2", "lens": 3},
        }
        room.devices.put(stored)
        event = await room.commands.read(name, "FriendlyName")
        assert event.readings[0].value == "The gate"
        event = await room.commands.read(name, "CustomMetadata")
        assert event.readings[0].object_value == {"floor": "2", "lens": 3}
        await metadata.delete_device(name)


def test_a_device_without_notes_has_empty_ones(pattern_device: Device) -> None:
    assert Notes.friendly_name(pattern_device) == ""
    assert Notes.custom_metadata(pattern_device) == {}
