"""FriendlyName and CustomMetadata are stored by core-metadata."""

from typing import Any

import pytest
from device_camera.notes import Notes
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService

from tests.device.parts import OpenParts


@pytest.mark.integration
async def test_a_name_and_free_keys_are_stored_beside_what_is_there(
    open_parts: OpenParts, edgex: Any, camera_profile: DeviceProfile
) -> None:
    async with open_parts(metadata=edgex.metadata) as parts:
        metadata, name = parts.service.metadata, parts.name
        record = DeviceService(name=parts.service.name, base_address="http://127.0.0.1:1", admin_state="UNLOCKED")
        await metadata.put_service(record)
        await metadata.add_profiles([camera_profile])
        await metadata.add_devices([parts.device], bypass_validation=True)
        await parts.write("FriendlyName", "The gate")
        await parts.write("CustomMetadata", {"floor": "2", "side": "left"})
        await parts.write("CustomMetadata", {"side": "", "lens": 3})
        stored = await metadata.device(name)
        assert stored.protocols == {
            "Camera": {"Source": "pattern:?fps=50", "Fps": 0, "FriendlyName": "The gate"},
            "CustomMetadata": {"floor": "2", "lens": 3},
        }
        parts.devices.put(stored)
        assert await parts.read("FriendlyName") == "The gate"
        assert await parts.read("CustomMetadata") == {"floor": "2", "lens": 3}
        await metadata.delete_device(name)


def test_a_device_without_notes_has_empty_ones(pattern_device: Device) -> None:
    assert Notes.friendly_name(pattern_device) == ""
    assert Notes.custom_metadata(pattern_device) == {}
