"""Devices that too many failures have set DOWN are tried again."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from edgex_kit.device.reconnect import bring_back
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import DriverFailed

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


async def test_a_device_that_answers_again_is_wanted_up(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room(Device={"AllowedFails": 1, "DeviceDownTimeout": 0.1}) as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        name = pattern_device.name
        try:
            await room.commands.read(name, "Zoom")
        except DriverFailed:
            room.devices.put(msgspec.structs.replace(pattern_device, operating_state="DOWN"))
        assert room.operating.is_trying(name)
        trying = asyncio.create_task(bring_back(room.service, room.devices, room.commands, room.operating))
        await until_soon(lambda: not room.operating.is_trying(name), "it was read")
        assert room.operating.reason(name) == ""
        trying.cancel()


async def test_a_device_with_nothing_to_read_is_up_unchecked(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    silent = msgspec.structs.replace(camera_profile, device_resources=(), device_commands=())
    async with open_room(Device={"AllowedFails": 1, "DeviceDownTimeout": 0.1}) as room:
        room.devices.put_profile(silent)
        room.devices.put(msgspec.structs.replace(pattern_device, operating_state="DOWN"))
        room.operating.failed(pattern_device.name)
        trying = asyncio.create_task(bring_back(room.service, room.devices, room.commands, room.operating))
        await until_soon(lambda: not room.operating.is_trying(pattern_device.name), "it is taken for well")
        trying.cancel()


async def test_without_a_timeout_nothing_is_tried(open_room: OpenRoom) -> None:
    async with open_room(Device={"AllowedFails": 1}) as room, asyncio.timeout(1):
        await bring_back(room.service, room.devices, room.commands, room.operating)
