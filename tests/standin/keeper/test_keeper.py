"""core-keeper: the checklist points it has to meet, and the key-value pairs in the store."""

import asyncio
import base64
from typing import Any

import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid
from edgex_standin import store
from edgex_standin.keeper import kv

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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (False, "false"), (1, "1"), (1.0, "1"), (0.5, "0.5"), (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"), ("", ""), ("x", "x"), ([1, "a"], '[1,"a"]'), ({"b": 1, "a": "<"}, '{"a":"\\u003c","b":1}'),
    ],
)  # fmt: skip
def test_a_value_is_stored_as_the_text_go_makes_of_it(value: Any, text: str) -> None:
    assert kv.text_of(value) == text


def test_flattening_drops_what_is_empty_and_breaks_lists_as_go_does() -> None:
    tree = {"A": {"B": 1, "C": True}, "D": "x", "empty": {}, "null": None, "list": [1, 2], "deep": {"er": {}}}
    assert dict(kv.flatten("k", tree)) == {"k/A/B": "1", "k/A/C": "true", "k/D": "x", "k/list": ""}


def test_a_prefix_is_whole_levels() -> None:
    db = store._connect(store.IN_MEMORY)
    for key in ("a", "a/b", "a_b", "ab", "b/a"):
        kv.put(db, key, "x")
    assert [pair.key for pair in kv.find(db, "a")] == ["a", "a/b"]
    db.close()


def test_putting_again_keeps_the_time_of_creation() -> None:
    db = store._connect(store.IN_MEMORY)
    kv.put(db, "a", "1")
    db.execute("update kv set created = 5, modified = 5")
    kv.put(db, "a", "2")
    (pair,) = kv.find(db, "a")
    assert (pair.value, pair.created, pair.modified > 5) == ("2", 5, True)
    db.close()


def test_deleting_a_parent_reports_a_conflict_and_takes_the_parent_all_the_same() -> None:
    """What core-keeper 4.0 does."""
    db = store._connect(store.IN_MEMORY)
    for key in ("a", "a/b"):
        kv.put(db, key, "x")
    assert kv.delete(db, "a", with_children=False) is None
    assert [pair.key for pair in kv.find(db, "a")] == ["a/b"]
    assert kv.delete(db, "a", with_children=True) == ["a/b"]
    db.close()


@pytest.mark.parametrize("key", ["a b", "ä", "a#b", "a+b", ""])
def test_a_key_with_other_characters_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="key only allows characters"):
        kv.check_key(key)
