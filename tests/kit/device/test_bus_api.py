"""The bus: commands side by side, validation at once, system events one after another, malformed messages counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from edgex_kit import supervision
from edgex_kit.bus.bus import Message
from edgex_kit.config.settings import ServiceSection
from edgex_kit.device.bus_api import Refusals, open_bus_api
from edgex_kit.device.registration import Registration
from edgex_kit.service.metrics import Metrics
from edgex_kit.service.rest import Json, build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, DiscoveredDevice, ProvisionWatcher
from edgex_kit.wire.errors import EdgexError, Malformed
from edgex_kit.wire.messages import Envelope, SystemEvent, new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.conformance.waiting import until_soon
from tests.kit.device.conftest import OpenRig, Rig, profile_of, resource

pytestmark = pytest.mark.integration


@asynccontextmanager
async def answering(rig: Rig) -> AsyncIterator[None]:
    """Commands, validation and system events of the service."""

    async def nothing() -> None:
        return

    async with asyncio.TaskGroup() as tasks:
        registration = Registration(rig.service, rig.devices, nothing)
        async with open_bus_api(rig.service, registration, rig.driver, rig.commands, rig.outbox, tasks) as follow:
            running = [tasks.create_task(follow()), tasks.create_task(registration.refresh())]
            assert await rig.service.bus.settle(5)
            yield
            for task in running:
                task.cancel()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_name() in ("commands", "validation"):
                task.cancel()


async def ask(rig: Rig, topic: str, body: Any = None, **query: str) -> Envelope:
    request_id = new_id()
    data = codec.encode(body, request_id=request_id, query_params=query)
    topics, name = rig.service.topics, rig.service.name
    return await rig.service.bus.request(topic, data, topics.response(name, request_id), 5)


def publish(rig: Rig, kind: str, action: str, details: Any) -> None:
    name = rig.service.name
    event = SystemEvent(type=kind, action=action, source="core-metadata", owner=name, details=details)
    rig.service.bus.publish(f"edgex/system-events/core-metadata/{kind}/{action}/{name}", codec.encode(event))


def get(rig: Rig, device: Device, source: str) -> str:
    return rig.service.topics.command_request(rig.service.name, device.name, source, "get")


async def test_a_slow_device_delays_nobody_else(open_rig: OpenRig, device: Device) -> None:
    released = asyncio.Event()

    async def slow() -> str:
        await released.wait()
        return "at last"

    async with open_rig() as rig, answering(rig):
        rig.driver.values["Text"] = slow
        waiting = asyncio.create_task(ask(rig, get(rig, device, "Text")))
        await asyncio.sleep(0.1)
        quick = await ask(rig, get(rig, device, "Rate"))
        assert codec.event_from(codec.decode_payload(quick)).source_name == "Rate"
        topic = rig.service.topics.validate_device(rig.service.name)
        assert (await ask(rig, topic, {"device": device})).payload is None
        assert not waiting.done()
        released.set()
        assert codec.event_from(codec.decode_payload(await waiting)).readings[0].value == "at last"


async def test_writes_of_one_device_take_effect_in_their_order(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, answering(rig):
        topic = rig.service.topics.command_request(rig.service.name, device.name, "Number", "set")
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 31):
                tasks.create_task(ask(rig, topic, {"Number": number}))
        assert rig.driver.values["Number"] == 30


async def test_a_command_that_breaks_is_answered_and_the_next_one_served(open_rig: OpenRig, device: Device) -> None:
    async def broken() -> str:
        raise ZeroDivisionError

    async with open_rig() as rig, answering(rig):
        rig.driver.values["Text"] = broken
        with pytest.raises(EdgexError):
            await ask(rig, get(rig, device, "Text"))
        assert (await ask(rig, get(rig, device, "Rate"))).error_code == 0


async def test_a_request_id_that_no_topic_can_hold_stops_nothing(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, answering(rig):
        validation = rig.service.topics.validate_device(rig.service.name)
        for topic, body in ((get(rig, device, "Rate"), None), (validation, {"device": device})):
            rig.service.bus.publish(topic, codec.encode(body, request_id="a/#"))
            assert (await ask(rig, topic, body)).error_code == 0


async def test_a_bad_device_is_refused_with_the_reason(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig, answering(rig):
        topic = rig.service.topics.validate_device(rig.service.name)
        with pytest.raises(EdgexError, match="it is bad"):
            await ask(rig, topic, {"device": msgspec.structs.replace(device, name="bad")})
        assert (await ask(rig, topic, {"apiVersion": "v3", "device": device})).content_type == codec.JSON


@pytest.mark.fault(5)
@pytest.mark.parametrize("name", ["\x1b[2J", "two\nlines", "a/b", "a+b", "a#", "a%2Fb", "\x85"])
async def test_a_name_that_no_topic_can_hold_is_refused(open_rig: OpenRig, device: Device, name: str) -> None:
    async with open_rig() as rig, answering(rig):
        topic = rig.service.topics.validate_device(rig.service.name)
        for change in ({"name": name}, {"profile_name": name}):
            with pytest.raises(EdgexError, match="topic"):
                await ask(rig, topic, {"device": msgspec.structs.replace(device, **change)})


async def test_a_name_with_slashes_is_found_where_names_are_escaped(open_rig: OpenRig, device: Device) -> None:
    odd = msgspec.structs.replace(device, name="a/b c+")
    async with open_rig(Service={"Host": "127.0.0.1", "Port": 0, "EnableNameFieldEscape": True}) as rig:
        rig.devices.put(odd)
        async with answering(rig):
            topic = get(rig, odd, "Rate")
            assert "a%2Fb%20c%2B" in topic
            assert codec.event_from(codec.decode_payload(await ask(rig, topic))).device_name == "a/b c+"


async def test_devices_are_added_changed_and_removed(open_rig: OpenRig, device: Device) -> None:
    plain = msgspec.structs.replace(device, profile_name="")
    async with open_rig(known=False) as rig, answering(rig):
        devices = rig.devices
        publish(rig, "device", "add", plain)
        await until_soon(lambda: devices.has(plain.name), "it is added")
        publish(rig, "device", "update", msgspec.structs.replace(plain, admin_state="LOCKED"))
        await until_soon(lambda: devices.get(plain.name).is_locked, "it is locked")
        publish(rig, "device", "update", msgspec.structs.replace(plain, service_name="another"))
        await until_soon(lambda: not devices.has(plain.name), "it has moved away")
        publish(rig, "device", "update", plain)
        await until_soon(lambda: devices.has(plain.name), "it has moved in")
        publish(rig, "device", "delete", plain)
        await until_soon(lambda: not devices.has(plain.name), "it is removed")


async def test_a_device_comes_with_its_profile_or_without_one_that_is_missing(
    open_rig: OpenRig, edgex: Any, device: Device, unique: str
) -> None:
    async with open_rig(edgex.metadata, known=False) as rig, answering(rig):
        profile = msgspec.structs.replace(profile_of(resource("A")), name=unique)
        await rig.service.metadata.add_profiles([profile])
        for name, has_profile in ((unique, True), ("nobody-has-this", False)):
            publish(rig, "device", "add", msgspec.structs.replace(device, name=f"on-{name}", profile_name=name))
            await until_soon(lambda name=name: rig.devices.has(f"on-{name}"), "it is added")  # type: ignore[misc]
            assert (rig.devices.find_profile(name) is not None) is has_profile


@pytest.mark.fault(8)
async def test_what_a_failed_event_said_is_read_from_core_metadata_later(
    open_rig: OpenRig, device: Device, profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """core-metadata answers 500 while a device is added and while another is changed, and no event follows."""
    monkeypatch.setattr(supervision, "BACKOFF", supervision.every(0.05))
    is_broken = True
    changed = msgspec.structs.replace(device, description="new")

    async def answer(request: Request) -> Response:
        if is_broken:
            return Json({"apiVersion": "v3", "message": "database is away", "statusCode": 500}, 500)
        if "/device/service/name/" in request.url.path:
            return Json({"apiVersion": "v3", "statusCode": 200, "totalCount": 1, "devices": [changed]})
        if "/deviceprofile/" in request.url.path:
            return Json({"apiVersion": "v3", "statusCode": 200, "profile": profile})
        if "/provisionwatcher/" in request.url.path:
            return Json({"apiVersion": "v3", "statusCode": 200, "totalCount": 0, "provisionWatchers": []})
        record = {"name": device.service_name, "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
        return Json({"apiVersion": "v3", "statusCode": 200, "service": record})

    core = build_app([Route("/{path:path}", answer)], ServiceSection())
    async with (
        open_server(core, "127.0.0.1", 0) as port,
        open_rig(f"http://127.0.0.1:{port}", known=False) as rig,
        answering(rig),
    ):
        publish(rig, "device", "add", device)
        await asyncio.sleep(0.3)
        assert not rig.devices.has(device.name)
        is_broken = False
        await until_soon(lambda: rig.devices.find(device.name) == changed, "the device is as core-metadata has it")


async def test_profiles_are_followed_where_a_device_has_them(open_rig: OpenRig) -> None:
    async with open_rig(known=False) as rig, answering(rig):
        devices = rig.devices
        publish(rig, "deviceprofile", "update", {"name": "unknown"})
        devices.put_profile(msgspec.structs.replace(profile_of(), name="other"))
        publish(rig, "deviceprofile", "update", {"name": "other", "model": "new"})
        await until_soon(lambda: devices.find_profile("other").model == "new", "it is replaced")  # type: ignore[union-attr]
        assert devices.find_profile("unknown") is None
        publish(rig, "deviceprofile", "delete", {"name": "other"})
        await until_soon(lambda: devices.find_profile("other") is None, "it is gone")


async def test_watchers_and_our_own_record_are_followed(open_rig: OpenRig) -> None:
    async with open_rig() as rig, answering(rig):
        devices, own = rig.devices, rig.service.name
        watcher = ProvisionWatcher(
            name="w",
            service_name=own,
            identifiers={"a": "b"},
            admin_state="UNLOCKED",
            discovered_device=DiscoveredDevice(admin_state="UNLOCKED"),
        )
        publish(rig, "provisionwatcher", "add", watcher)
        await until_soon(lambda: devices.watchers, "it is known")
        publish(rig, "provisionwatcher", "update", msgspec.structs.replace(watcher, service_name="another"))
        await until_soon(lambda: not devices.watchers, "it has moved away")
        publish(rig, "provisionwatcher", "update", watcher)
        await until_soon(lambda: devices.watchers, "it has moved in")
        publish(rig, "provisionwatcher", "delete", watcher)
        await until_soon(lambda: not devices.watchers, "it is gone")
        record = DeviceService(name="another", base_address="http://x", admin_state="LOCKED", labels=("a",))
        publish(rig, "deviceservice", "update", record)
        publish(rig, "deviceservice", "update", msgspec.structs.replace(record, name=own))
        await until_soon(lambda: devices.is_locked, "we are locked")
        assert devices.labels == ("a",)


async def test_an_event_that_makes_no_sense_stops_nothing(open_rig: OpenRig, device: Device) -> None:
    plain = msgspec.structs.replace(device, profile_name="")
    async with open_rig(known=False) as rig, answering(rig):
        publish(rig, "device", "add", {"name": 7})
        publish(rig, "planet", "add", None)
        publish(rig, "device", "explode", plain)
        rig.service.bus.publish(f"edgex/system-events/core-metadata/device/add/{plain.service_name}", b"\x00")
        publish(rig, "device", "add", plain)
        await until_soon(lambda: rig.devices.has(plain.name), "the next one is followed")
        assert rig.service.metrics.counter("MalformedMessages", kind="system events").value == 2


def test_malformed_messages_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics("device-x")
    refusals = Refusals(metrics, "commands")
    for _ in range(10_000):
        refusals.note(Message("edgex/x", b"?"), Malformed("no JSON"))
    assert metrics.counter("MalformedMessages", kind="commands").value == 10_000
    assert len(caplog.records) == 1
