"""operatingState follows the camera, is changed only when it has to change, and is told to core-metadata in the end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest
from device_camera.capture.state import State, Status
from edgex_kit.config.settings import ServiceSection
from edgex_kit.device import operating_state as operating
from edgex_kit.service.rest import Json, build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService
from edgex_kit.wire.errors import DriverFailed, Locked
from edgex_standin.address import free_port
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


def lost(reason: str) -> Status:
    return Status(State.LOST, reason, 0)


STREAMING = Status(State.STREAMING, "", 0)


@asynccontextmanager
async def registered(room: Any, device: Device, profile: DeviceProfile) -> AsyncIterator[str]:
    """The device in core-metadata, and operatingState followed."""
    metadata = room.service.metadata
    record = DeviceService(name=room.service.name, base_address="http://127.0.0.1:1", admin_state="UNLOCKED")
    await metadata.put_service(record)
    await metadata.add_profiles([profile])
    await metadata.add_devices([device], bypass_validation=True)
    room.devices.put_profile(profile)
    room.devices.put(await metadata.device(device.name))
    following = asyncio.create_task(room.operating.run())
    try:
        yield device.name
    finally:
        following.cancel()
        await metadata.delete_device(device.name)


async def state_of(room: Any, name: str) -> str:
    return str((await room.service.metadata.device(name)).operating_state)


async def settled(room: Any) -> None:
    await until_soon(lambda: not room.operating._wanted, "nothing is left to tell")
    await asyncio.sleep(0.1)


async def test_down_and_up_again_in_an_instant_ends_up(
    open_room: OpenRoom, edgex: Any, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    """core-metadata's own echo of the first change comes too late to be relied on."""
    quiet = msgspec.structs.replace(
        pattern_device, protocols={"Camera": {"Source": "pattern:", "AutoStreaming": False}}
    )
    async with open_room(edgex.metadata) as room, registered(room, quiet, camera_profile) as name:
        await settled(room)
        room.states.follow(name, lost("the plug"))
        await until_soon(lambda: room.devices.get(name).operating_state == "DOWN", "it is DOWN")
        assert await state_of(room, name) == "DOWN"
        with pytest.raises(Locked, match=f"device {name} OperatingState is DOWN: the plug"):
            await room.commands.read(name, "IsStreaming")
        room.states.follow(name, STREAMING)
        room.states.follow(name, lost("again"))
        room.states.follow(name, STREAMING)
        await until_soon(lambda: room.devices.get(name).operating_state == "UP", "it is UP")
        assert await state_of(room, name) == "UP"
        assert room.operating.reason(name) == ""


async def test_nothing_is_told_twice(
    open_room: OpenRoom, edgex: Any, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room(edgex.metadata) as room, registered(room, pattern_device, camera_profile) as name:
        await settled(room)
        before = (await room.service.metadata._call("GET", f"/api/v3/device/name/{name}"))["device"]["modified"]
        room.states.follow(name, STREAMING)
        await settled(room)
        after = (await room.service.metadata._call("GET", f"/api/v3/device/name/{name}"))["device"]["modified"]
        assert after == before


async def test_a_core_metadata_that_is_away_is_told_later(
    open_room: OpenRoom,
    open_standin: Callable[..., Any],
    broker: Any,
    pattern_device: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operating, "_AGAIN", 0.1)
    port = free_port("127.0.0.1")
    async with open_room(f"http://127.0.0.1:{port}") as room:
        following = asyncio.create_task(room.operating.run())
        room.devices.put(msgspec.structs.replace(pattern_device, profile_name="", protocols={}))
        await asyncio.sleep(0.3)
        assert room.devices.get(pattern_device.name).operating_state == "UP"
        with open_standin("--state=:memory:", f"--broker={broker}", f"--metadata-port={port}"):
            record = DeviceService(name=room.service.name, base_address="http://127.0.0.1:1", admin_state="UNLOCKED")
            await room.service.metadata.put_service(record)
            await room.service.metadata.add_devices([room.devices.get(pattern_device.name)], bypass_validation=True)
            room.states.follow(pattern_device.name, lost("no camera"))
            await until_soon(lambda: room.devices.get(pattern_device.name).operating_state == "DOWN", "it is told")
            assert await state_of(room, pattern_device.name) == "DOWN"
        following.cancel()


async def test_a_device_that_is_always_refused_holds_up_no_other(
    open_room: OpenRoom, pattern_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating, "_AGAIN", 0.05)
    asked: list[str] = []

    async def patch(request: Request) -> Response:
        name = (await request.json())[0]["device"]["name"]
        asked.append(name)
        return Json([{"apiVersion": "v3", "statusCode": 500 if name == "refused" else 200, "message": ""}], 207)

    core = build_app([Route("/api/v3/device", patch, methods=["PATCH"])], ServiceSection())
    async with open_server(core, "127.0.0.1", 0) as port, open_room(f"http://127.0.0.1:{port}") as room:
        for name in ("refused", "first", "second"):
            room.devices.put(msgspec.structs.replace(pattern_device, name=name, profile_name="", protocols={}))
            room.operating.want(name, "DOWN", "lost")
        following = asyncio.create_task(room.operating.run())
        await until_soon(lambda: asked.count("refused") == 3, "it is tried again and again")
        following.cancel()
        assert asked[:4] == ["refused", "first", "second", "refused"]
        states = {name: room.devices.get(name).operating_state for name in ("refused", "first", "second")}
        assert states == {"refused": "UP", "first": "DOWN", "second": "DOWN"}


async def test_failures_are_counted_in_a_row(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    limits = {"AllowedFails": 2, "DeviceDownTimeout": 30}
    async with open_room(Device=limits) as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        name = pattern_device.name
        for source in ("Zoom", "IsStreaming", "Zoom"):
            try:
                await room.commands.read(name, source)
            except DriverFailed:
                continue
        assert not room.operating.is_trying(name)
        with pytest.raises(DriverFailed):
            await room.commands.read(name, "Zoom")
        assert room.operating.reason(name) == "2 commands in a row failed"
        assert room.operating.is_trying(name)
        room.devices.put(msgspec.structs.replace(pattern_device, operating_state="DOWN"))
        assert await room.commands.read(name, "IsStreaming"), "a DOWN device is tried"
        with pytest.raises(Locked):
            await room.commands.read(name, "IsStreaming")


async def test_a_deleted_device_is_forgotten(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        room.states.follow(pattern_device.name, lost("x"))
        room.devices.remove(pattern_device.name)
        assert room.operating.reason(pattern_device.name) == ""
        assert room.operating._wanted == {}
