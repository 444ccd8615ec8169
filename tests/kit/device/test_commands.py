"""Commands: transforms, tags, assertions, and the order of refusals."""

import msgspec
import pytest
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import AssertionBroken, DriverFailed, Locked, NotFound

from tests.kit.device.conftest import OpenRig, profile_of, resource

pytestmark = pytest.mark.integration


async def test_a_reading_that_contradicts_its_assertion_sets_the_device_down(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig:
        rig.devices.put_profile(profile_of(resource("Text", assertion="maybe")))
        with pytest.raises(AssertionBroken):
            await rig.commands.read(device.name, "Text")
        assert rig.operating.reason(device.name)


async def test_numbers_are_transformed_both_ways(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig:
        rig.devices.put_profile(profile_of(resource("Rate", "Float64", scale=10.0, offset=1.0)))
        event = await rig.commands.write(device.name, "Rate", {"Rate": 31})
        assert rig.driver.values["Rate"] == 3.0
        assert event is not None
        assert event.readings[0].value == "3.1e+01"
        assert (await rig.commands.read(device.name, "Rate")).readings[0].value == "3.1e+01"


async def test_a_value_of_another_type_than_the_profile_says_is_the_drivers_failure(
    open_rig: OpenRig, device: Device
) -> None:
    async with open_rig() as rig:
        rig.devices.put_profile(profile_of(resource("Text", "Int32")))
        with pytest.raises(DriverFailed, match="'Text'"):
            await rig.commands.read(device.name, "Text")


async def test_tags_of_the_device_win(open_rig: OpenRig, device: Device) -> None:
    command = {
        "name": "All",
        "readWrite": "R",
        "resourceOperations": [{"deviceResource": "Text"}],
        "tags": {"from": "command", "kind": "x"},
    }
    async with open_rig() as rig:
        rig.devices.put_profile(profile_of({**resource("Text"), "tags": {"unit": "text"}}, deviceCommands=[command]))
        rig.devices.put(msgspec.structs.replace(device, tags={"from": "device"}))
        event = await rig.commands.read(device.name, "All")
        assert event.tags == {"from": "device", "kind": "x"}
        assert event.readings[0].tags == {"unit": "text"}


async def test_refusals_come_in_the_order_of_device_sdk_go(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig:
        down = msgspec.structs.replace(device, operating_state="DOWN", profile_name="")
        rig.devices.put(down)
        with pytest.raises(Locked, match="OperatingState is DOWN"):
            await rig.commands.read(down.name, "x")
        rig.devices.put(msgspec.structs.replace(down, admin_state="LOCKED"))
        with pytest.raises(Locked, match=f"device {down.name} locked"):
            await rig.commands.read(down.name, "x")
        with pytest.raises(NotFound):
            await rig.commands.write("nobody", "x", {})
        rig.devices.put_service("LOCKED", ())
        with pytest.raises(Locked, match="service locked"):
            await rig.commands.write("nobody", "x", {})
