"""How a running service follows its configuration."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from edgex_kit.bus.bus import Bus
from edgex_kit.clients.keeper import COMMON, ROOT, Keeper
from edgex_kit.config.flags import Flags
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import provider
from edgex_kit.service.provider import Provider
from edgex_kit.service.rest import build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Unreachable
from edgex_kit.wire.messages import KeyValue
from edgex_kit.wire.topics import config_change

from tests.kit.slow_keeper import SlowKeeper

Open = Callable[..., Provider]


class Followed:
    """A provider whose changes are collected."""

    def __init__(self, provider_: Provider, service: str) -> None:
        self.provider = provider_
        self.private = f"{ROOT}/{service}"
        self.seen: list[dict[str, Any]] = []

    async def follow(self, bus: Bus) -> None:
        async for layers in self.provider.changes(bus):
            self.seen.append(layers.merged())


@pytest.fixture
async def followed(open_provider: Open, bus: Bus, unique: str) -> AsyncIterator[Followed]:
    provider_ = open_provider()
    await provider_.load({})
    followed = Followed(provider_, unique)
    task = asyncio.create_task(followed.follow(bus))
    await asyncio.sleep(0)
    assert await bus.settle(10)
    yield followed
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not bus._subscriptions.patterns


async def test_a_changed_key_arrives_as_new_layers(followed: Followed, keeper: Keeper, until: Any) -> None:
    await keeper.put(f"{followed.private}/Writable/LogLevel", "DEBUG")
    await until(lambda: followed.seen)
    assert followed.seen[-1]["Writable"]["LogLevel"] == "DEBUG"
    await keeper.put(f"{followed.private}/Writable/Novel/Key", "1")
    await until(lambda: followed.seen[-1]["Writable"].get("Novel") == {"Key": "1"})
    await keeper.delete(f"{followed.private}/Writable/Novel")
    await until(lambda: "Novel" not in followed.seen[-1]["Writable"])


async def nothing_is_seen(followed: Followed, keeper: Keeper, until: Any) -> None:
    """Only the marker that comes after is seen."""
    await keeper.put(f"{followed.private}/Writable/Marker", "1")
    await until(lambda: followed.seen)
    assert followed.seen[0]["Writable"]["Marker"] == "1"
    assert len(followed.seen) == 1


async def test_a_stale_change_message_changes_nothing(
    followed: Followed, keeper: Keeper, other: Bus, until: Any
) -> None:
    key = f"{followed.private}/Writable/LogLevel"
    other.publish(config_change(key), codec.encode(KeyValue(key=key, value="ERROR")))
    await nothing_is_seen(followed, keeper, until)
    assert followed.seen[0]["Writable"]["LogLevel"] == "INFO"


async def test_a_message_that_cannot_be_understood_changes_nothing(
    followed: Followed, keeper: Keeper, other: Bus, until: Any
) -> None:
    other.publish(config_change(f"{followed.private}/Writable/LogLevel"), b"\xff")
    await nothing_is_seen(followed, keeper, until)


async def test_a_key_stored_again_with_the_same_value_changes_nothing(
    followed: Followed, keeper: Keeper, until: Any
) -> None:
    await keeper.put(f"{followed.private}/Writable/LogLevel", "INFO")
    await nothing_is_seen(followed, keeper, until)


async def test_a_common_key_that_the_private_configuration_covers_changes_nothing(
    followed: Followed, keeper: Keeper, until: Any
) -> None:
    try:
        await keeper.put(f"{COMMON}/all-services/Writable/LogLevel", "ERROR")
        await keeper.put(f"{COMMON}/device-services/Writable/LogLevel", "WARN")
        await nothing_is_seen(followed, keeper, until)
    finally:
        await keeper.delete(f"{COMMON}/all-services/Writable/LogLevel")
        await keeper.delete(f"{COMMON}/device-services/Writable/LogLevel")


async def test_a_common_key_that_nothing_covers_arrives(
    followed: Followed, keeper: Keeper, unique: str, until: Any
) -> None:
    key = f"{COMMON}/all-services/Writable/Telemetry/Tags/{unique}"
    try:
        await keeper.put(key, "1")
        await until(lambda: followed.seen)
        assert followed.seen[-1]["Writable"]["Telemetry"]["Tags"] == {unique: "1"}
    finally:
        await keeper.delete(key)


async def test_a_change_that_no_message_told_of_is_found_after_a_while(
    open_provider: Open, bus: Bus, keeper: Keeper, unique: str, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "REREAD", 0.1)
    provider_ = open_provider()
    await provider_.load({})
    followed = Followed(provider_, unique)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.follow(bus))
        await keeper.put(f"{ROOT}/{unique}/Camera/Rate", "9")  # outside Writable: nobody tells us
        await until(lambda: followed.seen)
        assert followed.seen[0]["Camera"]["Rate"] == "9"
        task.cancel()


async def test_what_changed_between_loading_and_following_is_found_at_once(
    open_provider: Open, bus: Bus, keeper: Keeper, unique: str, until: Any
) -> None:
    provider_ = open_provider()
    await provider_.load({})
    await keeper.put(f"{ROOT}/{unique}/Writable/LogLevel", "DEBUG")
    followed = Followed(provider_, unique)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.follow(bus))
        await until(lambda: followed.seen)
        task.cancel()


async def test_following_that_begins_again_leaves_nothing_of_the_first_time(
    open_provider: Open, bus: Bus, keeper: Keeper, unique: str, until: Any
) -> None:
    provider_ = open_provider()
    await provider_.load({})
    for level in ("DEBUG", "WARN"):
        await keeper.put(f"{ROOT}/{unique}/Writable/LogLevel", level)
        followed = Followed(provider_, unique)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(followed.follow(bus))
            await until(lambda followed=followed: followed.seen)
            task.cancel()
    assert len(bus._on_connected) == 1
    assert not bus._subscriptions.patterns


async def test_a_keeper_that_went_away_is_said_once_and_the_old_configuration_stays(
    packaged: Path, bus: Bus, until: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider, "REREAD", 0.02)
    slow = SlowKeeper()
    slow.ready, slow.pings = "true", 5
    async with open_server(build_app(slow.routes(), ServiceSection()), "127.0.0.1", 0) as port:
        flags = Flags(provider=f"http://127.0.0.1:{port}", startup_s=5, interval_s=0.01)
        gone = Provider("device-cam", "device-services", flags, packaged)
        await gone.load({})
    followed = Followed(gone, "device-cam")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(followed.follow(bus))
        await until(lambda: "the configuration cannot be read again: core-keeper" in caplog.text)
        await asyncio.sleep(0.2)
        task.cancel()
    assert caplog.text.count("cannot be read again") == 1
    assert not followed.seen
    with pytest.raises(Unreachable):
        await gone.read()
    gone.close()
