"""A camera's state as an event, whenever it changes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_a_lost_camera_says_why_though_its_device_is_down(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, tmp_path: Path, *, is_wanted: bool
) -> None:
    gone = msgspec.structs.replace(
        pattern_device, operating_state="DOWN", protocols={"Camera": {"Source": str(tmp_path / "none")}}
    )
    async with open_room(Device={"EnableAsyncReadings": is_wanted}) as room:
        topic = room.service.topics.event(room.service.name, "vision-camera", gone.name, "StreamingStatus")
        async with room.service.bus.messages(topic) as messages:
            assert await room.service.bus.settle(5)
            sending = asyncio.create_task(room.reports.run(room.commands))
            room.devices.put_profile(camera_profile)
            room.devices.put(gone)
            try:
                async with asyncio.timeout(5 if is_wanted else 0.7):
                    state: Any = {}
                    while state.get("State") != "lost":
                        envelope = codec.decode_envelope((await anext(messages)).data)
                        state = codec.event_of(envelope).readings[0].object_value
                assert is_wanted
                assert "no such file" in state["Error"]
                assert envelope.correlation_id == ""
            except TimeoutError:
                assert not is_wanted
            finally:
                sending.cancel()
