"""The cameras' counters as metrics."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from device_camera import metrics as meters
from edgex_kit.wire.devices import Device, DeviceProfile

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


async def test_metrics_balance_and_carry_device_and_reason(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, monkeypatch: Any
) -> None:
    monkeypatch.setattr(meters, "_EVERY", 0.05)
    async with open_room(Writable={"Camera": {"MaxFrameAge": "1ns"}}) as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        name = pattern_device.name
        looking = asyncio.create_task(room.meters.run())
        counter = room.service.metrics.counter
        await until_soon(lambda: counter("FramesDropped", device=name, reason="stale").value > 3, "drops are counted")
        found = {(one.name, one.tags.get("reason", "")): one.value for one in room.service.metrics}
        dropped = sum(value for (metric, _), value in found.items() if metric == "FramesDropped")
        assert found["FramesCaptured", ""] == found["FramesPublished", ""] + dropped
        assert found["LastConnected", ""] == 0, "no frame went out, no command was given"
        await room.commands.read(name, "IsStreaming")
        assert room.service.metrics.gauge("LastConnected", device=name).value
        looking.cancel()


async def test_a_new_camera_has_no_rate_yet(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        assert room.meters.capture_fps(room.cameras.get(pattern_device.name)) == 0.0
