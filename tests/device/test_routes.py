"""The REST door: names, queries, bodies, limits, as HTTP sends them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import msgspec
from device_camera.discovery import Discovery
from device_camera.routes import discovery_routes
from edgex_kit.device.rest_api import command_routes
from edgex_kit.service.rest import build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def answering(room: Any, device: Device, profile: DeviceProfile) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the room's routes, served by the real server."""
    room.devices.put_profile(profile)
    room.devices.put(device)
    routes = [
        *command_routes(room.service, room.commands, room.outbox),
        *discovery_routes(Discovery(room.service, room.devices, list)),
    ]
    settings = room.service.settings.service
    async with (
        open_server(build_app(routes, settings), "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


def path(device: str, command: str) -> str:
    return f"/api/v3/device/name/{device}/{command}"


async def test_names_are_decoded_once(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    odd = msgspec.structs.replace(pattern_device, name="gate/left 100%")
    async with open_room() as room, answering(room, odd, camera_profile) as client:
        answer = await client.get(path("gate%2Fleft%20100%25", "IsStreaming"))
        assert answer.status_code == 200
        assert answer.json()["event"]["deviceName"] == "gate/left 100%"
        regex = await client.get(path("gate%2Fleft%20100%25", "Frames%28Captured%7CDropped%29"))
        assert len(regex.json()["event"]["readings"]) == 2


async def test_the_callers_correlation_id_comes_back_and_goes_out_with_the_event(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, answering(room, pattern_device, camera_profile) as client:
        topic = room.service.topics.event(room.service.name, "vision-camera", pattern_device.name, "IsStreaming")
        async with room.service.bus.messages(topic) as messages:
            assert await room.service.bus.settle(5)
            query = {"ds-pushevent": "true"}
            headers = {"X-Correlation-ID": "11111111-2222-3333-4444-555555555555"}
            answer = await client.get(path(pattern_device.name, "IsStreaming"), params=query, headers=headers)
            assert answer.headers["X-Correlation-ID"] == headers["X-Correlation-ID"]
            async with asyncio.timeout(5):
                envelope = codec.decode_envelope((await anext(messages)).data)
            assert envelope.correlation_id == headers["X-Correlation-ID"]
            assert codec.event_of(envelope).id == answer.json()["event"]["id"]


async def test_a_camera_that_is_too_slow_is_told_before_the_request_ends(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    """The camera's own error is worth more than `request timeout`, so the command waits a little less long."""
    slow = msgspec.structs.replace(
        pattern_device, protocols={"Camera": {"Source": "rtsp://127.0.0.1:9/x", "AutoStreaming": False}}
    )
    limits = {"Host": "127.0.0.1", "Port": 0, "RequestTimeout": "1s"}
    async with open_room(Service=limits) as room, answering(room, slow, camera_profile) as client:
        answer = await client.get(path(slow.name, "Snapshot"))
        assert answer.status_code == 500
        assert "error reading Snapshot" in answer.json()["message"]


async def test_bodies_that_are_no_objects_and_too_big_ones_are_refused(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    limits = {"Host": "127.0.0.1", "Port": 0, "MaxRequestSize": 1}
    async with open_room(Service=limits) as room, answering(room, pattern_device, camera_profile) as client:
        where = path(pattern_device.name, "FrameRateFps")
        for body in (b"[1]", b'"x"', b"{", b"\xff"):
            answer = await client.put(where, content=body)
            assert answer.status_code == 400, body
            assert answer.json()["message"].startswith("failed to parse request body")
        assert (await client.put(where, content=b" " * 2000)).status_code == 413
        assert (await client.put(where, json={"FrameRateFps": 3})).json() == {"apiVersion": "v3", "statusCode": 200}
        assert (await client.delete(where)).status_code == 405


async def test_discovery_answers_as_it_stands(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, answering(room, pattern_device, camera_profile) as client:
        assert (await client.post("/api/v3/discovery")).status_code == 503
        assert (await client.delete("/api/v3/discovery")).status_code == 200
        assert (await client.delete("/api/v3/discovery/requestId/7")).json()["requestId"] == "7"
        for refused in (client.post("/api/v3/profilescan"), client.delete("/api/v3/profilescan/device/name/x")):
            assert (await refused).status_code == 501
