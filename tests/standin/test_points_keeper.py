"""Points of the conformance checklist that core-keeper has to meet, by their numbers (contract 11, F)."""

import asyncio
import base64
from typing import Any

from edgex_kit.wire import codec

from tests.standin.device_services import bus_of


async def test_81_a_prefix_gives_every_key_below_it_and_no_other(edgex: Any, ask: Any, unique: str) -> None:
    keys = f"{edgex.keeper}/api/v3/kvs/key/{unique}"
    for key in ("a", "a/b", "ab"):
        await asyncio.to_thread(ask, "PUT", f"{keys}/{key}", {"value": key})
    said = await asyncio.to_thread(ask, "GET", f"{keys}/a?keyOnly=true")
    assert said.body["response"] == [f"{unique}/a", f"{unique}/a/b"]


def test_81_an_unknown_key_is_refused_in_keepers_words(edgex: Any, ask: Any, unique: str) -> None:
    said = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/{unique}")
    assert (said.status, said.message) == (404, f"no key starting with '{unique}' found")


def test_81_keys_and_registrations_have_the_capitals_of_go(edgex: Any, ask: Any, unique: str) -> None:
    ask("PUT", f"{edgex.keeper}/api/v3/kvs/key/{unique}", {"value": True})
    pair = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/{unique}").body["response"][0]
    assert list(pair) == ["key", "Created", "Modified", "value"]
    assert base64.b64decode(pair["value"]) == b"true"
    entry = ask("GET", f"{edgex.keeper}/api/v3/registry/serviceId/core-metadata").body["registration"]
    assert entry["HealthCheck"]["path"] == "/api/v3/ping"


async def test_81_every_put_is_announced_also_one_that_changes_nothing(edgex: Any, ask: Any, unique: str) -> None:
    key = f"edgex/v4/{unique}/Writable/LogLevel"
    url = f"{edgex.keeper}/api/v3/kvs/key/{key.replace('/', '%2F')}"
    async with bus_of(edgex) as bus, bus.messages(f"edgex/configs/edgex/v4/{unique}/#") as changes:
        assert await bus.settle(5)
        for _ in range(2):
            await asyncio.to_thread(ask, "PUT", url, {"value": "DEBUG"})
        await asyncio.to_thread(ask, "DELETE", url)
        async with asyncio.timeout(5):
            heard = [await anext(changes) for _ in range(3)]
    assert {message.topic for message in heard} == {f"edgex/configs/{key}"}
    payloads = [codec.decode_envelope(message.data).payload for message in heard]
    assert payloads[0] == payloads[1] == {"key": key, "Created": 0, "Modified": 0, "value": "DEBUG"}
    assert payloads[2] == {"key": key, "Created": 0, "Modified": 0}
