"""Schedules of auto events: when they begin, what they skip, what ends them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest
from edgex_kit.device.autoevents import AutoEvents, _grid
from edgex_kit.wire.devices import AutoEvent, Device, DeviceProfile
from edgex_kit.wire.messages import Event

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


def every(interval: str, source: str = "FrameRateFps") -> AutoEvent:
    return AutoEvent(interval=interval, source_name=source)


@asynccontextmanager
async def scheduling(room: Any, profile: DeviceProfile) -> AsyncIterator[list[Event]]:
    """What the schedules of the room's devices send."""
    sent: list[Event] = []
    room.devices.put_profile(profile)
    async with asyncio.TaskGroup() as tasks:
        AutoEvents(room.devices, room.commands, lambda event, _: sent.append(event) is None, tasks)
        try:
            yield sent
        finally:
            for name in [device.name for device in room.devices.all()]:
                room.devices.remove(name)


async def test_events_come_at_their_pace_and_not_before_the_first_interval(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, scheduling(room, camera_profile) as sent:
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=(every("300ms"), every("100ms", "Is.*"))))
        await asyncio.sleep(0.08)
        assert sent == []
        await asyncio.sleep(0.97)
        counts = [sum(event.source_name == name for event in sent) for name in ("FrameRateFps", "Is.*")]
        assert counts[0] == 3
        assert 8 <= counts[1] <= 10


async def test_a_change_that_is_none_of_its_business_does_not_begin_a_schedule_anew(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, scheduling(room, camera_profile) as sent:
        scheduled = msgspec.structs.replace(pattern_device, auto_events=(every("400ms"),))
        room.devices.put(scheduled)
        for number in range(6):
            await asyncio.sleep(0.1)
            room.devices.put(msgspec.structs.replace(scheduled, description=str(number)))
        assert len(sent) == 1


async def test_other_auto_events_take_the_place_of_the_old_ones(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, scheduling(room, camera_profile) as sent:
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=(every("50ms"),)))
        await until_soon(lambda: sent, "events come")
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=(every("50ms", "IsStreaming"),)))
        sent.clear()
        await until_soon(lambda: len(sent) > 2, "other events come")
        assert {event.source_name for event in sent} == {"IsStreaming"}
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=None))
        sent.clear()
        await asyncio.sleep(0.2)
        assert sent == []


async def test_a_source_that_fails_is_said_once_and_goes_on(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_room() as room, scheduling(room, camera_profile) as sent:
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=(every("50ms", "Zoom"),)))
        await asyncio.sleep(0.4)
        assert sent == []
    assert capsys.readouterr().err.count("auto event 'Zoom'") == 1


@pytest.mark.parametrize("interval", ["soon", "0s", "-1s"])
async def test_an_interval_that_is_none_is_said(
    open_room: OpenRoom,
    pattern_device: Device,
    camera_profile: DeviceProfile,
    capsys: pytest.CaptureFixture[str],
    interval: str,
) -> None:
    async with open_room() as room, scheduling(room, camera_profile) as sent:
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=(every(interval),)))
        await asyncio.sleep(0.1)
        assert sent == []
    assert f"'{interval}'" in capsys.readouterr().err


async def test_what_comes_late_skips_turns_and_keeps_to_the_grid() -> None:
    begin = time.monotonic()
    turns = []
    async for _ in _grid(0.1):
        turns.append(time.monotonic() - begin)
        if len(turns) == 1:
            await asyncio.sleep(0.35)  # the turns at 0.2, 0.3 and 0.4 are missed
        if len(turns) == 3:
            break
    assert turns == pytest.approx([0.1, 0.5, 0.6], abs=0.06)


async def test_schedules_that_are_closed_follow_no_change(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room, asyncio.TaskGroup() as tasks:
        room.devices.put_profile(camera_profile)
        sent: list[Event] = []
        schedules = AutoEvents(room.devices, room.commands, lambda event, _: sent.append(event) is None, tasks)
        schedules.close()
        room.devices.put(msgspec.structs.replace(pattern_device, auto_events=(every("10ms"),)))
        await asyncio.sleep(0.2)
        assert sent == []
