"""Configuration: where it comes from, what is stored of it, how a running service follows it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from edgex_kit.bus.bus import Bus
from edgex_kit.clients.keeper import COMMON, ROOT, Keeper
from edgex_kit.config.flags import Flags, parse_flags
from edgex_kit.config.settings import ServiceSection, Settings
from edgex_kit.service import configuration as provider
from edgex_kit.service.configuration import Layers, Live, Provider, remote_hosts
from edgex_kit.service.rest import Json, build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid, NotFound, Unavailable, Unreachable
from edgex_kit.wire.messages import KeyValue
from edgex_kit.wire.topics import config_change
from edgex_standin.address import free_port
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

pytestmark = pytest.mark.integration


def _decoded(key: str) -> str:
    return key.replace("%2F", "/").replace("%2D", "-")


class SlowKeeper:
    """A core-keeper that becomes ready in steps."""

    def __init__(self) -> None:
        self.pings = 0
        self.ready = "false"
        self.private: dict[str, str] = {}
        self.common = {f"{COMMON}/all-services/A": "1", f"{COMMON}/device-services/B": "2"}

    async def ping(self, _request: Request) -> Response:
        self.pings += 1
        return Json({"serviceName": "core-keeper"}, 503 if self.pings < 3 else 200)

    async def key(self, request: Request) -> Response:
        prefix = _decoded(request.path_params["key"])
        held = {f"{COMMON}/IsCommonConfigReady": self.ready, **self.common, **self.private}
        pairs = [{"key": key, "value": value} for key, value in held.items() if key.startswith(prefix)]
        return Json({"response": pairs}, 200 if pairs else 404)

    async def put(self, request: Request) -> Response:
        self.private[_decoded(request.path_params["key"])] = str((await request.json())["value"])
        return Json({})

    def routes(self) -> list[Route]:
        return [
            Route("/api/v3/ping", self.ping),
            Route("/api/v3/kvs/key/{key}", self.key),
            Route("/api/v3/kvs/key/{key}", self.put, methods=["PUT"]),
        ]


Open = Callable[..., Provider]


def from_files(packaged: Path, *argv: str) -> Provider:
    return Provider("device-cam", "device-services", parse_flags(argv, {}), packaged)


async def test_without_a_provider_the_file_and_the_environment_are_all(packaged: Path) -> None:
    layers = await from_files(packaged).load({"SERVICE_PORT": "1", "SERVICE_NEW": "x"})
    assert layers == Layers(
        private={
            "Writable": {"LogLevel": "INFO"},
            "Service": {"Host": "localhost", "Port": "1", "Open": True},
            "Camera": {"Rate": 5.0},
        }
    )


async def test_a_common_file_gives_the_weaker_layers(packaged: Path, tmp_path: Path) -> None:
    common = tmp_path / "common.yaml"
    common.write_text(
        "all-services: {MessageBus: {Host: a}}\n"
        "device-services: {Device: {MaxCmdOps: 1}}\n"
        "app-services: {Trigger: {}}\n"
    )
    provider_ = from_files(packaged, f"-cc={common}")
    layers = await provider_.load({"ALL_SERVICES_MESSAGEBUS_HOST": "b"})
    assert layers.all_services == {"MessageBus": {"Host": "b"}}
    assert layers.kind == {"Device": {"MaxCmdOps": 1}}


async def test_a_file_is_found_by_its_folder_profile_and_name(packaged: Path) -> None:
    (packaged / "night").mkdir()
    (packaged / "night" / "mine.yaml").write_text("Camera: {Rate: 1}")
    layers = await from_files(packaged, "-p=night", "-cf=mine.yaml").load({})
    assert layers.private == {"Camera": {"Rate": 1}}


async def test_a_file_may_come_over_http(packaged: Path) -> None:
    async def file(_request: Request) -> Response:
        return PlainTextResponse("Camera: {Rate: 2}")

    app = build_app([Route("/night/configuration.yaml", file)], ServiceSection())
    async with open_server(app, "127.0.0.1", 0) as port:
        layers = await from_files(packaged, f"-cd=http://127.0.0.1:{port}", "-p=night").load({})
        assert layers.private == {"Camera": {"Rate": 2}}
        with pytest.raises(NotFound, match=r"/nope.yaml: 404"):
            await from_files(packaged, f"-cf=http://127.0.0.1:{port}/nope.yaml").load({})


@pytest.mark.parametrize(
    ("text", "cause"),
    [("[", "is no YAML"), ("- a", "holds no sections"), ("", "holds no sections"), (None, "cannot be")],
)
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, cause: str) -> None:
    if text is not None:
        (tmp_path / "configuration.yaml").write_text(text)
    with pytest.raises(Invalid, match=f"configuration file '{tmp_path}/configuration.yaml' {cause}"):
        await from_files(tmp_path).load({})


async def test_without_a_provider_there_is_nothing_to_read_again(packaged: Path, bus: Bus) -> None:
    alone = from_files(packaged)
    with pytest.raises(Unavailable):
        await alone.read()
    assert [layers async for layers in alone.changes(bus)] == []


async def test_the_first_start_stores_the_file_and_the_environment_key_by_key_as_text(
    open_provider: Open, keeper: Keeper, unique: str
) -> None:
    layers = await open_provider().load({"SERVICE_PORT": "1"})
    assert await keeper.values(f"{ROOT}/{unique}") == {
        f"{ROOT}/{unique}/Writable/LogLevel": "INFO",
        f"{ROOT}/{unique}/Service/Host": "localhost",
        f"{ROOT}/{unique}/Service/Port": "1",
        f"{ROOT}/{unique}/Service/Open": "true",
        f"{ROOT}/{unique}/Camera/Rate": "5",
    }
    assert layers.private["Service"]["Port"] == "1"
    assert layers.origin == "core-keeper"
    assert layers.all_services["MessageBus"]["BaseTopicPrefix"] == "edgex"
    assert layers.kind["Device"]["MaxCmdOps"] == "128"
    assert "Trigger" not in layers.merged()


async def test_a_later_start_keeps_what_is_stored_whatever_file_and_environment_say(
    open_provider: Open, keeper: Keeper, unique: str
) -> None:
    await open_provider().load({})
    await keeper.put(f"{ROOT}/{unique}/Service/Port", "7")
    await keeper.delete(f"{ROOT}/{unique}/Camera")
    layers = await open_provider().load({"SERVICE_PORT": "1", "CAMERA_RATE": "2"})
    assert layers.private["Service"]["Port"] == "7"
    assert layers.private["Camera"]["Rate"] == "2"  # it was missing, so it was stored again


async def test_with_o_the_file_and_the_environment_replace_what_is_stored(
    open_provider: Open, keeper: Keeper, unique: str
) -> None:
    await open_provider().load({})
    await keeper.put(f"{ROOT}/{unique}/Service/Port", "7")
    await keeper.put(f"{ROOT}/{unique}/Service/Mine", "kept")
    layers = await open_provider("-o").load({"SERVICE_HOST": "cam"})
    assert layers.private["Service"] == {"Host": "cam", "Port": "59985", "Open": "true", "Mine": "kept"}


async def test_a_keeper_that_never_comes_ends_the_start_after_the_start_up_time(packaged: Path) -> None:
    flags = Flags(provider=f"http://127.0.0.1:{free_port('127.0.0.1')}", startup_s=0.3, interval_s=0.05)
    waiting = Provider("device-cam", "device-services", flags, packaged)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"gave up after 0.3 s: core-keeper at .* connection refused"):
        await waiting.load({})
    assert 0.3 <= time.monotonic() - began < 2
    waiting.close()


async def test_a_start_waits_until_core_keeper_is_ready_and_holds_the_common_configuration(packaged: Path) -> None:
    slow = SlowKeeper()
    async with open_server(build_app(slow.routes(), ServiceSection()), "127.0.0.1", 0) as port:
        flags = Flags(provider=f"http://127.0.0.1:{port}", startup_s=10, interval_s=0.01)
        waiting = Provider("device-cam", "device-services", flags, packaged)
        loading = asyncio.create_task(waiting.load({}))
        await asyncio.sleep(0.3)
        assert slow.pings > 3
        assert not loading.done()
        slow.ready = "true"
        assert (await loading).all_services == {"A": "1"}
        waiting.close()


async def test_a_keeper_without_a_common_configuration_is_no_place_to_start_from(packaged: Path) -> None:
    slow = SlowKeeper()
    slow.ready, slow.common = "true", {}
    async with open_server(build_app(slow.routes(), ServiceSection()), "127.0.0.1", 0) as port:
        flags = Flags(provider=f"http://127.0.0.1:{port}", startup_s=5, interval_s=0.01)
        alone = Provider("device-cam", "device-services", flags, packaged)
        with pytest.raises(Unavailable, match="no common configuration 'all-services' and 'device-services'"):
            await alone.load({})
        alone.close()


def test_remote_hosts_replace_ours_theirs_and_the_bind_address() -> None:
    tree = {"Clients": {"core-data": {"Host": "localhost", "Port": 1}}, "MessageBus": {"Port": 1883}}
    assert remote_hosts(tree, ("me", "edge", "0.0.0.0")) == {
        "Service": {"Host": "me", "ServerBindAddr": "0.0.0.0"},
        "MessageBus": {"Host": "edge"},
        "Registry": {"Host": "edge"},
        "Clients": {"core-data": {"Host": "edge"}, "core-metadata": {"Host": "edge"}},
    }
    assert remote_hosts(tree, ()) == {}
    assert remote_hosts(tree, ("", "edge", "0.0.0.0"))["Service"]["Host"].count(".") == 3
    with pytest.raises(Invalid, match="-rsh takes three comma-separated hosts, not 2"):
        remote_hosts(tree, ("a", "b"))


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


@pytest.mark.fault(7)
@pytest.mark.parametrize("emptied", ["private", "everything"])
async def test_a_keeper_that_lost_its_data_changes_nothing_and_gets_our_keys_again(
    packaged: Path,
    bus: Bus,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    emptied: str,
) -> None:
    monkeypatch.setattr(provider, "REREAD", 0.05)
    slow = SlowKeeper()
    slow.ready, slow.pings = "true", 5
    async with open_server(build_app(slow.routes(), ServiceSection()), "127.0.0.1", 0) as port:
        flags = Flags(provider=f"http://127.0.0.1:{port}", startup_s=5, interval_s=0.01)
        found = Provider("device-cam", "device-services", flags, packaged)
        restored = []

        async def register() -> None:
            restored.append(True)

        found.on_restored = register
        known = await found.load({})
        stored = dict(slow.private)
        followed = Followed(found, "device-cam")
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(followed.follow(bus))
            await asyncio.sleep(0.2)
            slow.private.clear()
            if emptied == "everything":
                slow.common.clear()
            await until(lambda: restored)
            await until(lambda: slow.private == stored)
            await asyncio.sleep(0.2)
            task.cancel()
        assert not followed.seen
        assert known.private
        assert caplog.text.count("lost its data") == 1
        found.close()


@pytest.mark.fault(19)
async def test_an_instance_gets_a_port_of_its_own_at_its_first_start(
    open_provider: Open, keeper: Keeper, unique: str
) -> None:
    first = await open_provider("-i=b").load({})
    port = int(first.private["Service"]["Port"])
    assert port not in (0, 59985)
    assert (await open_provider("-i=b").load({})).private["Service"]["Port"] == str(port), "later ones keep it"
    await keeper.delete(f"{ROOT}/{unique}")
    chosen = await open_provider("-i=b").load({"SERVICE_PORT": "60123"})
    assert chosen.private["Service"]["Port"] == "60123"


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


def layers(level: str = "INFO", port: str = "1", **private: object) -> Layers:
    return Layers(private={"Writable": {"LogLevel": level}, "Service": {"Port": port}, **private}, origin="core-keeper")


def test_new_layers_become_the_settings_and_everyone_is_told() -> None:
    live = Live(Settings, layers())
    told: list[str] = []
    live.on_change(lambda now: told.append(now.writable.log_level))
    live.replace(layers("DEBUG"))
    assert live.now.writable.log_level == "DEBUG"
    assert live.tree["Writable"] == {"LogLevel": "DEBUG"}
    assert told == ["DEBUG"]


def test_who_has_left_is_told_nothing() -> None:
    live, told = Live(Settings, layers()), list[Settings]()
    leave = live.on_change(told.append)
    live.replace(layers())
    leave()
    live.replace(layers())
    assert len(told) == 1


@pytest.mark.fault(6)
def test_a_wrong_key_is_refused_and_told_once_and_the_others_apply(caplog: pytest.LogCaptureFixture) -> None:
    live = Live(Settings, layers())
    for level in ("DEBUG", "WARN"):
        live.replace(layers(level, port="http"))
        assert live.now.writable.log_level == level
        assert (live.now.service.port, live.tree["Service"]) == (1, {"Port": "1"})
        assert [it.key for it in live.refused] == ["Service.Port"]
    assert len(caplog.records) == 1
    live.replace(layers("WARN", port="2"))
    assert (live.now.service.port, list(live.refused)) == (2, [])


@pytest.mark.fault(6)
def test_a_start_takes_the_files_value_for_a_wrong_one_of_core_keeper() -> None:
    stored = Layers(private={"Service": {"Port": "http"}}, origin="core-keeper", file={"Service": {"Port": 59985}})
    live = Live(Settings, stored)
    assert live.now.service.port == 59985
    assert [it.key for it in live.refused] == ["Service.Port"]


@pytest.mark.fault(6)
def test_one_part_that_fails_to_follow_holds_up_no_other() -> None:
    live, told = Live(Settings, layers()), list[Settings]()
    live.on_change(lambda _: 1 / 0)
    live.on_change(told.append)
    live.replace(layers("DEBUG"))
    assert len(told) == 1


@pytest.mark.fault(27)
def test_an_unknown_key_is_named_once_with_the_one_that_is_meant(caplog: pytest.LogCaptureFixture) -> None:
    live = Live(Settings, layers(Serviec={"Port": "1"}))
    live.replace(layers("DEBUG", Serviec={"Port": "1"}))
    assert list(live.unknown) == ["Serviec"]
    assert len(caplog.records) == 1
    assert "Service" in caplog.text


def test_remote_hosts_are_in_force_and_shown_but_belong_to_no_layer() -> None:
    given = layers()
    live = Live(Settings, given, ("me", "edge", "0.0.0.0"))
    assert live.now.service.host == "me"
    assert live.now.message_bus.host == "edge"
    assert live.now.client("core-metadata", 59881).url == "http://edge:59881"
    assert live.tree["MessageBus"]["Host"] == "edge"
    assert given == layers()
