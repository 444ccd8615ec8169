"""The bus door: commands side by side, validation at once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest
from device_camera import resources
from edgex_kit.device.bus_requests import CommandDoor, ValidationDoor
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import EdgexError, Invalid
from edgex_kit.wire.messages import Envelope, new_id

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def answering(room: Any, device: Device, profile: DeviceProfile) -> AsyncIterator[None]:
    """Commands and validation of the room's devices over the bus."""

    def check(asked: Device) -> None:
        if asked.name == "bad":
            raise Invalid("it is bad")

    room.devices.put_profile(profile)
    room.devices.put(device)
    service = room.service
    async with (
        service.bus.messages(service.topics.command_requests(service.name)) as commands,
        service.bus.messages(service.topics.validate_device(service.name)) as devices,
    ):
        assert await service.bus.settle(5)
        doors = [
            asyncio.create_task(CommandDoor(service, room.commands, room.outbox).serve(commands)),
            asyncio.create_task(ValidationDoor(service, check).serve(devices)),
        ]
        try:
            yield
        finally:
            for door in doors:
                door.cancel()
            await asyncio.wait(doors)


async def ask(room: Any, topic: str, body: Any = None, **query: str) -> Envelope:
    request_id = new_id()
    data = codec.encode(body, request_id=request_id, query_params=query)
    topics, name = room.service.topics, room.service.name
    return await room.service.bus.request(topic, data, topics.response(name, request_id), 5)


async def test_a_slow_camera_delays_nobody_else(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    async def slow(_target: Any) -> str:
        await asyncio.to_thread(go_on.wait, 5)
        return "at last"

    monkeypatch.setitem(resources.GETTERS, "LastError", slow)
    async with open_room() as room, answering(room, pattern_device, camera_profile):
        topics, service, name = room.service.topics, room.service.name, pattern_device.name
        waiting = asyncio.create_task(ask(room, topics.command_request(service, name, "LastError", "get")))
        await asyncio.sleep(0.1)
        quick = await ask(room, topics.command_request(service, name, "IsStreaming", "get"))
        assert codec.event_from(codec.decode_payload(quick)).source_name == "IsStreaming"
        assert (await ask(room, topics.validate_device(service), {"device": pattern_device})).payload is None
        assert not waiting.done()
        go_on.set()
        event = codec.event_from(codec.decode_payload(await waiting))
        assert event.readings[0].value == "at last"


async def test_writes_of_one_device_take_effect_in_their_order(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, answering(room, pattern_device, camera_profile):
        topic = room.service.topics.command_request(room.service.name, pattern_device.name, "FrameRateFps", "set")
        async with asyncio.TaskGroup() as tasks:
            for rate in range(1, 31):
                tasks.create_task(ask(room, topic, {"FrameRateFps": rate}))
        assert room.cameras.get(pattern_device.name).settings.fps == 30


async def test_a_command_that_breaks_is_answered_and_the_next_one_served(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_target: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setitem(resources.GETTERS, "LastError", broken)
    async with open_room() as room, answering(room, pattern_device, camera_profile):
        topics, service, name = room.service.topics, room.service.name, pattern_device.name
        with pytest.raises(EdgexError, match="internal error"):
            await ask(room, topics.command_request(service, name, "LastError", "get"))
        assert (await ask(room, topics.command_request(service, name, "IsStreaming", "get"))).error_code == 0


async def test_a_request_id_that_no_topic_can_hold_ends_neither_door(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, answering(room, pattern_device, camera_profile):
        topics, service, name = room.service.topics, room.service.name, pattern_device.name
        command = topics.command_request(service, name, "IsStreaming", "get")
        for topic, body in ((command, None), (topics.validate_device(service), {"device": pattern_device})):
            room.service.bus.publish(topic, codec.encode(body, request_id="a/#"))
            assert (await ask(room, topic, body)).error_code == 0


async def test_a_bad_device_is_refused_with_the_reason(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, answering(room, pattern_device, camera_profile):
        topic = room.service.topics.validate_device(room.service.name)
        bad = msgspec.structs.replace(pattern_device, name="bad")
        with pytest.raises(EdgexError, match="it is bad"):
            await ask(room, topic, {"device": bad})
        assert (await ask(room, topic, {"apiVersion": "v3", "device": pattern_device})).content_type == codec.JSON


async def test_a_name_with_slashes_is_found_where_names_are_escaped(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    odd = msgspec.structs.replace(pattern_device, name="a/b c+")
    escaping = {"Host": "127.0.0.1", "Port": 0, "EnableNameFieldEscape": True}
    async with open_room(Service=escaping) as room, answering(room, odd, camera_profile):
        topic = room.service.topics.command_request(room.service.name, odd.name, "IsStreaming", "get")
        assert "a%2Fb%20c%2B" in topic
        event = codec.event_from(codec.decode_payload(await ask(room, topic)))
        assert event.device_name == "a/b c+"
