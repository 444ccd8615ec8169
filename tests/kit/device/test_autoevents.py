"""Auto events: when they begin, what they skip, what ends them, and what counts as a change."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from edgex_kit.device.autoevents import AutoEvents, Changes, _grid
from edgex_kit.wire.devices import AutoEvent, Device
from edgex_kit.wire.messages import Event, Reading

from tests.conformance.waiting import until_soon
from tests.kit.device.conftest import OpenRig, Rig


def every(interval: str, source: str = "Rate") -> AutoEvent:
    return AutoEvent(interval=interval, source_name=source)


@asynccontextmanager
async def scheduling(rig: Rig) -> AsyncIterator[list[Event]]:
    """What the schedules of the devices publish."""
    sent: list[Event] = []
    async with asyncio.TaskGroup() as tasks:
        AutoEvents(rig.devices, rig.commands, lambda event, _: sent.append(event) is None, tasks)
        try:
            yield sent
        finally:
            for name in [device.name for device in rig.devices.all()]:
                rig.devices.remove(name)


@pytest.mark.integration
async def test_events_come_at_their_interval_and_not_before_the_first(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, scheduling(rig) as sent:
        rig.devices.put(msgspec.structs.replace(device, auto_events=(every("300ms"), every("100ms", "T.*"))))
        await asyncio.sleep(0.08)
        assert sent == []
        await asyncio.sleep(0.97)
        counts = [sum(event.source_name == name for event in sent) for name in ("Rate", "T.*")]
        assert counts[0] == 3
        assert 8 <= counts[1] <= 10


@pytest.mark.integration
async def test_other_changes_of_the_device_do_not_restart_a_schedule(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, scheduling(rig) as sent:
        scheduled = msgspec.structs.replace(device, auto_events=(every("400ms"),))
        rig.devices.put(scheduled)
        for number in range(6):
            await asyncio.sleep(0.1)
            rig.devices.put(msgspec.structs.replace(scheduled, description=str(number)))
        assert len(sent) == 1


@pytest.mark.integration
async def test_new_auto_events_replace_the_old_ones(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, scheduling(rig) as sent:
        rig.devices.put(msgspec.structs.replace(device, auto_events=(every("50ms"),)))
        await until_soon(lambda: sent, "events come")
        rig.devices.put(msgspec.structs.replace(device, auto_events=(every("50ms", "Text"),)))
        sent.clear()
        await until_soon(lambda: len(sent) > 2, "other events come")
        assert {event.source_name for event in sent} == {"Text"}
        rig.devices.put(msgspec.structs.replace(device, auto_events=None))
        sent.clear()
        await asyncio.sleep(0.2)
        assert sent == []


@pytest.mark.integration
@pytest.mark.parametrize("auto", [every("50ms", "Broken"), every("soon"), every("0s"), every("-1s")])
async def test_a_schedule_that_cannot_run_is_logged_once(
    open_rig: OpenRig, device: Device, capsys: pytest.CaptureFixture[str], auto: AutoEvent
) -> None:
    async with open_rig() as rig, scheduling(rig) as sent:
        rig.devices.put(msgspec.structs.replace(device, auto_events=(auto,)))
        await asyncio.sleep(0.4)
        assert sent == []
    assert capsys.readouterr().err.count(f"auto event '{auto.source_name}'") == 1


async def test_a_late_schedule_skips_times_and_keeps_to_the_grid() -> None:
    begin = time.monotonic()
    turns = []
    async for _ in _grid(0.1):
        turns.append(time.monotonic() - begin)
        if len(turns) == 1:
            await asyncio.sleep(0.35)  # the times 0.2, 0.3 and 0.4 are missed
        if len(turns) == 3:
            break
    assert turns == pytest.approx([0.1, 0.5, 0.6], abs=0.06)


@pytest.mark.integration
async def test_closed_schedules_follow_no_change(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, asyncio.TaskGroup() as tasks:
        sent: list[Event] = []
        schedules = AutoEvents(rig.devices, rig.commands, lambda event, _: sent.append(event) is None, tasks)
        schedules.close()
        rig.devices.put(msgspec.structs.replace(device, auto_events=(every("10ms"),)))
        await asyncio.sleep(0.2)
        assert sent == []


def event(**values: Any) -> Event:
    readings = tuple(_reading(name, value) for name, value in values.items())
    return Event(
        api_version="v3", id="1", device_name="d", profile_name="p", source_name="s", origin=1, readings=readings
    )


def _reading(name: str, value: Any) -> Reading:
    if isinstance(value, bytes):
        fields: dict[str, Any] = {"value_type": "Binary", "binary_value": value}
    elif isinstance(value, dict):
        fields = {"value_type": "Object", "object_value": value}
    elif isinstance(value, float) or value is None:
        fields = {"value_type": "Float64", "value": None if value is None else f"{value:e}"}
    else:
        fields = {"value_type": "String", "value": value}
    return Reading(origin=1, device_name="d", resource_name=name, profile_name="p", **fields)


@pytest.mark.parametrize(
    ("threshold", "steps"),
    [
        (1.0, [({"a": 1.0}, True), ({"a": 1.9}, False), ({"a": 2.0}, False), ({"a": 2.1}, True), ({"a": 3.0}, False)]),
        (0.0, [({"a": 1.0}, True), ({"a": 1.0}, False), ({"a": 1.0001}, True)]),
        (0.0, [({"a": "x", "b": "y"}, True), ({"a": "x", "b": "y"}, False), ({"a": "x", "b": "z"}, True)]),
        (0.0, [({"a": b"jpeg"}, True), ({"a": bytes(bytearray(b"jpeg"))}, False), ({"a": b"jpeh"}, True)]),
        (0.0, [({"a": {"x": 1}}, True), ({"a": {"x": 1}}, False), ({"a": {"x": 2}}, True)]),
        (0.0, [({"a": "x"}, True), ({"b": "x"}, True)]),
        (10.0, [({"a": 1.0}, True), ({"a": None}, True), ({"a": None}, False)]),
    ],
    ids=["threshold", "any change", "one of many", "pictures", "objects", "other resources", "null"],
)
def test_a_change_is_measured_against_the_last_event_sent(
    threshold: float, steps: list[tuple[dict[str, Any], bool]]
) -> None:
    changes = Changes(threshold)
    assert [changes.has(event(**values)) for values, _ in steps] == [expected for _, expected in steps]
