"""The room behind both doors: what conformance tests cannot see from outside."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import AssertionBroken, DriverFailed, Locked, NotFound

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


def profile_of(*resources: dict[str, Any]) -> DeviceProfile:
    return convert({"name": "vision-camera", "deviceResources": list(resources)}, DeviceProfile)


def resource(name: str, function: str, value_type: str = "String", **more: Any) -> dict[str, Any]:
    properties = {"valueType": value_type, "readWrite": "RW", **more}
    return {"name": name, "attributes": {"getFunction": function, "setFunction": function}, "properties": properties}


async def test_a_reading_that_contradicts_its_assertion_sets_the_device_down(
    open_room: OpenRoom, pattern_device: Device
) -> None:
    profile = profile_of(resource("IsStreaming", "IsStreaming", "Bool", assertion="maybe"))
    async with open_room() as room:
        room.devices.put_profile(profile)
        room.devices.put(pattern_device)
        with pytest.raises(AssertionBroken, match="Assertion failed for DeviceResource IsStreaming"):
            await room.commands.read(pattern_device.name, "IsStreaming")
        assert "Assertion failed" in room.operating.reason(pattern_device.name)


async def test_numbers_are_transformed_on_the_way_out_and_back(open_room: OpenRoom, pattern_device: Device) -> None:
    profile = profile_of(resource("Percent", "FrameRateFps", "Float64", scale=10.0, offset=1.0))
    async with open_room() as room:
        room.devices.put_profile(profile)
        room.devices.put(pattern_device)
        event = await room.commands.write(pattern_device.name, "Percent", {"Percent": 31})
        assert room.cameras.get(pattern_device.name).settings.fps == 3.0
        assert event.readings[0].value == "3.1e+01", "what was written, as the caller means it"
        assert (await room.commands.read(pattern_device.name, "Percent")).readings[0].value == "3.1e+01"


async def test_a_value_of_another_type_than_the_profile_says_is_the_drivers_failure(
    open_room: OpenRoom, pattern_device: Device
) -> None:
    async with open_room() as room:
        room.devices.put_profile(profile_of(resource("Uri", "StreamURI", "Int32")))
        room.devices.put(pattern_device)
        with pytest.raises(DriverFailed, match="resource 'Uri' of device"):
            await room.commands.read(pattern_device.name, "Uri")


async def test_tags_of_the_device_win(open_room: OpenRoom, pattern_device: Device) -> None:
    profile = convert(
        {
            "name": "vision-camera",
            "deviceResources": [{**resource("Uri", "StreamURI"), "tags": {"unit": "text"}}],
            "deviceCommands": [
                {
                    "name": "All",
                    "readWrite": "R",
                    "resourceOperations": [{"deviceResource": "Uri"}],
                    "tags": {"from": "command", "kind": "x"},
                }
            ],
        },
        DeviceProfile,
    )
    async with open_room() as room:
        room.devices.put_profile(profile)
        room.devices.put(msgspec.structs.replace(pattern_device, tags={"from": "device"}))
        event = await room.commands.read(pattern_device.name, "All")
        assert event.tags == {"from": "device", "kind": "x"}
        assert event.readings[0].tags == {"unit": "text"}


async def test_a_device_whose_camera_cannot_be_tells_why(open_room: OpenRoom, pattern_device: Device) -> None:
    async with open_room() as room:
        room.devices.put_profile(profile_of(resource("Uri", "StreamURI")))
        protocols = {"Camera": {"Source": "pattern:", "SecretName": "gate"}}
        room.devices.put(msgspec.structs.replace(pattern_device, protocols=protocols))
        with pytest.raises(DriverFailed, match="no secret named 'gate'"):
            await room.commands.read(pattern_device.name, "Uri")


async def test_refusals_come_in_the_contracts_order(open_room: OpenRoom, pattern_device: Device) -> None:
    async with open_room() as room:
        down = msgspec.structs.replace(pattern_device, operating_state="DOWN", profile_name="")
        room.devices.put(down)
        with pytest.raises(Locked, match="OperatingState is DOWN"):
            await room.commands.read(down.name, "x")
        room.devices.put(msgspec.structs.replace(down, admin_state="LOCKED"))
        with pytest.raises(Locked, match=f"device {down.name} locked"):
            await room.commands.read(down.name, "x")
        with pytest.raises(NotFound):
            await room.commands.write("nobody", "x", {})
        room.devices.put_service("LOCKED", ())
        with pytest.raises(Locked, match="service locked"):
            await room.commands.write("nobody", "x", {})
