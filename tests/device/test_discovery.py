"""Discovery: one run at a time, its progress on the bus, cameras that have moved."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from device_camera.discovery import Discovery, watcher_for
from device_camera.v4l2.usb import UsbCamera
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceService, DiscoveredDevice, ProvisionWatcher
from edgex_kit.wire.errors import Locked, NotFound, Unavailable
from edgex_kit.wire.messages import SystemEvent

from tests.conformance.waiting import until_soon
from tests.device.parts import OpenParts

pytestmark = pytest.mark.integration

ON = {"Device": {"Discovery": {"Enabled": True, "Interval": "0s"}}}


def camera(number: int = 0, port: str = "pci-1", serial: str = "") -> UsbCamera:
    return UsbCamera(f"/dev/video{number}", "Cam", port, serial, f"/dev/video{number}")


@asynccontextmanager
async def running(parts: Any, find: Callable[[], list[UsbCamera]]) -> AsyncIterator[tuple[Discovery, list[Any]]]:
    """Discovery that runs, and the details of what it says."""
    service = parts.service
    topic = service.topics.system_event(service.name, "device", "discovery", service.name)
    said: list[Any] = []

    def hear(message: Any) -> None:
        said.append(codec.payload_as(codec.decode_envelope(message.data), SystemEvent).details)

    service.bus.subscribe(topic, hear)
    assert await service.bus.settle(5)
    discovery = Discovery(service, parts.devices, find)
    task = asyncio.create_task(discovery.run())
    try:
        yield discovery, said
    finally:
        task.cancel()
        await asyncio.wait([task])


def progress(said: list[Any]) -> list[int]:
    return [details["progress"] for details in said]


async def test_a_run_that_goes_on_is_neither_doubled_nor_stopped_by_a_wrong_id(open_parts: OpenParts) -> None:
    goes_on, finds = threading.Event(), []

    def find() -> list[UsbCamera]:
        finds.append(1)
        goes_on.wait(5)
        return []

    async with open_parts(ON) as parts, running(parts, find) as (discovery, said):
        discovery.stop()  # nothing runs: nothing happens
        discovery.trigger("first")
        await until_soon(lambda: finds, "it runs")
        discovery.trigger("second")
        with pytest.raises(NotFound, match="discovery second is not running"):
            discovery.stop("second")
        goes_on.set()
        await until_soon(lambda: progress(said) == [0, 100], "it has ended")
        await asyncio.sleep(0.1)
        assert finds == [1]
        assert said[1] == {"requestId": "first", "progress": 100, "discoveredDeviceCount": 0}


async def test_a_run_can_be_stopped(open_parts: OpenParts) -> None:
    goes_on = threading.Event()

    def find() -> list[UsbCamera]:
        goes_on.wait(5)
        return []

    async with open_parts(ON) as parts, running(parts, find) as (discovery, said):
        discovery.trigger("slow")
        await until_soon(lambda: said, "it runs")
        discovery.stop("slow")
        await until_soon(lambda: progress(said) == [0, -1], "it has stopped")
        goes_on.set()


async def test_a_run_that_fails_says_so_and_the_next_one_works(open_parts: OpenParts) -> None:
    answers = iter([OSError("no /sys here"), []])

    def find() -> list[UsbCamera]:
        if isinstance(answer := next(answers), OSError):
            raise answer
        return answer

    async with open_parts(ON) as parts, running(parts, find) as (discovery, said):
        discovery.trigger("one")
        await until_soon(lambda: progress(said) == [0, -1], "it has failed")
        assert "no /sys here" in said[1]["message"]
        discovery.trigger("two")
        await until_soon(lambda: progress(said) == [0, -1, 0, 100], "the next one works")


async def test_discovery_is_refused_where_it_is_not_wanted(open_parts: OpenParts) -> None:
    async with open_parts() as parts, running(parts, list) as (discovery, _):
        with pytest.raises(Unavailable, match="disabled"):
            discovery.trigger("x")
        parts.devices.put_service("LOCKED", ())
        with pytest.raises(Locked, match="service locked"):
            discovery.trigger("x")


async def test_with_an_interval_it_runs_by_itself(open_parts: OpenParts) -> None:
    every = {"Device": {"Discovery": {"Enabled": True, "Interval": "100ms"}}}
    async with open_parts(every) as parts, running(parts, list) as (_, said):
        await until_soon(lambda: progress(said).count(100) >= 3, "it runs again and again")


@pytest.mark.parametrize(
    ("known", "found", "source"),
    [
        (camera(0, "pci-1", "S1"), camera(4, "pci-2", "S1"), "v4l2:/dev/video4"),  # re-plugged elsewhere
        (camera(0, "pci-1"), camera(2, "pci-1"), "v4l2:/dev/video2"),  # another node after a restart
        (camera(0, "pci-1"), camera(0, "pci-1"), "v4l2:/dev/video0"),
        (camera(0, "pci-1", "S1"), camera(0, "pci-1", "S2"), "v4l2:/dev/video0"),  # another camera in its place
    ],
)
async def test_a_device_follows_its_camera(
    open_parts: OpenParts, edgex: Any, pattern_device: Device, known: UsbCamera, found: UsbCamera, source: str
) -> None:
    async with open_parts(ON, edgex.metadata) as parts, running(parts, lambda: [found]) as (discovery, said):
        metadata = parts.service.metadata
        record = DeviceService(name=parts.service.name, base_address="http://127.0.0.1:1", admin_state="UNLOCKED")
        await metadata.put_service(record)
        device = msgspec.structs.replace(pattern_device, profile_name="", protocols=known.protocols)
        await metadata.add_devices([device], bypass_validation=True)
        parts.devices.put(device)
        discovery.trigger("x")
        await until_soon(lambda: 100 in progress(said), "it has run")
        stored = await metadata.device(device.name)
        assert stored.protocols["Camera"]["Source"] == source
        await metadata.delete_device(device.name)


async def test_a_device_added_by_hand_is_left_alone(open_parts: OpenParts, pattern_device: Device) -> None:
    by_hand = msgspec.structs.replace(pattern_device, profile_name="", protocols={"Camera": {"Source": "/dev/video0"}})
    async with open_parts(ON) as parts, running(parts, lambda: [camera(0, "pci-9")]) as (discovery, said):
        parts.devices.put(by_hand)
        discovery.trigger("x")
        await until_soon(lambda: 100 in progress(said), "it has run")
        assert parts.devices.all() == (by_hand,)


CAMERA: dict[str, dict[str, Any]] = {"Camera": {"Source": "v4l2:/dev/video0", "CardName": "C270", "Number": 7}}


def watcher(name: str = "w", **fields: Any) -> ProvisionWatcher:
    defaults: dict[str, Any] = {
        "identifiers": {"Source": "v4l2"},
        "admin_state": "UNLOCKED",
        "discovered_device": DiscoveredDevice(admin_state="UNLOCKED"),
    }
    return ProvisionWatcher(name=name, service_name="s", **{**defaults, **fields})


@pytest.mark.parametrize(
    ("fields", "is_wanted"),
    [
        ({}, True),
        ({"identifiers": {"Source": "video[0-3]$", "CardName": "^C"}}, True),
        ({"identifiers": {"Source": "v4l2", "CardName": "D"}}, False),
        ({"identifiers": {"Number": "^7$"}}, True),
        ({"identifiers": {"Absent": ".*"}}, False),
        ({"identifiers": {"Source": "("}}, False),
        ({"admin_state": "LOCKED"}, False),
        ({"blocking_identifiers": {"CardName": ("C920", "C270")}}, False),
        ({"blocking_identifiers": {"CardName": ("C2",)}}, True),
        ({"blocking_identifiers": {"Number": ("7",)}}, False),
    ],
)
def test_a_watcher_wants_a_camera_or_not(fields: dict[str, Any], *, is_wanted: bool) -> None:
    assert (watcher_for(CAMERA, [watcher(**fields)]) is not None) is is_wanted


def test_identifiers_must_be_found_within_one_protocol() -> None:
    split = {"A": {"Source": "v4l2"}, "B": {"CardName": "C270"}}
    assert watcher_for(split, [watcher(identifiers={"Source": "v4l2", "CardName": "C270"})]) is None


def test_the_first_watcher_that_wants_it_has_it() -> None:
    first, second = watcher("first", admin_state="LOCKED"), watcher("second")
    assert watcher_for(CAMERA, [first, second]) is second


async def test_discovery_by_rest(open_parts: OpenParts) -> None:
    async with open_parts() as parts, parts.served() as client:
        assert (await client.post("/api/v3/discovery")).status_code == 503
        assert (await client.delete("/api/v3/discovery")).status_code == 200
        assert (await client.delete("/api/v3/discovery/requestId/7")).json()["requestId"] == "7"
        for refused in (client.post("/api/v3/profilescan"), client.delete("/api/v3/profilescan/device/name/x")):
            assert (await refused).status_code == 501
