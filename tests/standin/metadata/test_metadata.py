"""Points of the conformance checklist that core-metadata has to meet, by their numbers."""

import asyncio
from typing import Any

from edgex_kit.wire import codec

from tests.standin.device_services import device_of, device_service, post


async def test_83_a_device_is_stored_only_after_its_service_agreed(edgex: Any, ask: Any, unique: str) -> None:
    topic = f"edgex/system-events/core-metadata/device/add/{unique}/#"
    async with device_service(edgex, ask, unique) as service, service.bus.messages(topic) as events:
        assert await service.bus.settle(5)
        item = await post(edgex, ask, "device", "device", device_of(unique))
        assert item["statusCode"] == 201
        assert service.asked == [unique]
        async with asyncio.timeout(5):
            message = await anext(events)
    details = codec.decode_envelope(message.data).payload["details"]
    assert message.topic.endswith(f"/{unique}/{unique}")
    assert (details["id"], details["name"]) == (item["id"], unique)


async def test_83_a_device_its_service_refuses_is_not_stored(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, refusal="protocol rtsp needs Address"):
        item = await post(edgex, ask, "device", "device", device_of(unique))
        said = await asyncio.to_thread(ask, "GET", f"{edgex.metadata}/api/v3/device/name/{unique}")
    assert (item["statusCode"], item["message"]) == (
        500,
        f"Device {unique} validation failed: protocol rtsp needs Address",
    )
    assert said.status == 404


async def test_83_a_service_that_is_silent_makes_the_request_time_out(edgex: Any, ask: Any, unique: str) -> None:
    record = {"name": unique, "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
    await post(edgex, ask, "deviceservice", "service", record)
    body = [{"apiVersion": "v3", "device": device_of(unique, profileName="")}]
    said = await asyncio.to_thread(ask, "POST", f"{edgex.metadata}/api/v3/device", body)
    assert (said.status, said.content_type, said.text) == (503, "text/plain", "request timeout")
    assert (await asyncio.to_thread(ask, "GET", f"{edgex.metadata}/api/v3/device/name/{unique}")).status == 404


async def test_83_validation_is_passed_by_when_asked_to(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, refusal="no") as service:
        item = await post(edgex, ask, "device", "device", device_of(unique), "?bypassValidation=true")
        assert (item["statusCode"], service.asked) == (201, [])


async def test_83_a_device_that_moves_is_announced_to_both_services(edgex: Any, ask: Any, unique: str) -> None:
    other = f"{unique}-2"
    record = {"name": other, "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "deviceservice", "service", record)
        await post(edgex, ask, "device", "device", device_of(unique))
        async with service.bus.messages("edgex/system-events/core-metadata/device/update/#") as events:
            assert await service.bus.settle(5)
            change = [{"apiVersion": "v3", "device": {"name": unique, "serviceName": other}}]
            url = f"{edgex.metadata}/api/v3/device?bypassValidation=true"
            await asyncio.to_thread(ask, "PATCH", url, change)
            async with asyncio.timeout(5):
                owners = [codec.decode_envelope((await anext(events)).data).payload["owner"] for _ in range(2)]
    assert owners == [unique, other]


async def test_83_a_changed_profile_is_announced_to_every_service_on_it(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "device", "device", device_of(unique))
        async with service.bus.messages("edgex/system-events/core-metadata/deviceprofile/update/#") as events:
            assert await service.bus.settle(5)
            body = [{"apiVersion": "v3", "basicinfo": {"name": unique, "description": "new"}}]
            await asyncio.to_thread(ask, "PATCH", f"{edgex.metadata}/api/v3/deviceprofile/basicinfo", body)
            async with asyncio.timeout(5):
                topics = [(await anext(events)).topic for _ in range(2)]
    assert [topic.split("/")[-2:] for topic in topics] == [["core-metadata", unique], [unique, unique]]


def test_84_twenty_are_listed_unless_told_otherwise_and_all_with_minus_one(edgex: Any, ask: Any, unique: str) -> None:
    watchers = [
        {"name": f"{unique}-{n:02}", "serviceName": unique, "identifiers": {"A": "."}, "adminState": "UNLOCKED",
         "discoveredDevice": {"adminState": "UNLOCKED"}}
        for n in range(25)
    ]  # fmt: skip
    body = [{"apiVersion": "v3", "provisionWatcher": watcher} for watcher in watchers]
    assert {item["statusCode"] for item in ask("POST", f"{edgex.metadata}/api/v3/provisionwatcher", body).body} == {201}
    url = f"{edgex.metadata}/api/v3/provisionwatcher/service/name/{unique}"

    def names(query: str) -> list[str]:
        said = ask("GET", f"{url}?{query}").body
        assert said["totalCount"] == 25
        return [watcher["name"] for watcher in said["provisionWatchers"]]

    every = [watcher["name"] for watcher in watchers]
    assert names("") == every[:20]
    assert names("limit=-1") == every
    assert names("offset=20&limit=3") == every[20:23]
    assert names("limit=0") == []
    assert ask("GET", f"{url}?limit=1025").status == 400
    assert ask("GET", f"{url}?offset=-1").status == 400
    assert ask("GET", f"{url}?limit=many").status == 400
    said = ask("GET", f"{url}?offset=26")
    assert (said.status, said.message) == (416, "query objects bounds out of range. length:25 offset:26")
