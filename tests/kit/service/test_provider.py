"""Where configuration comes from, and what is stored of it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from edgex_kit.bus.bus import Bus
from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.config.flags import Flags, parse_flags
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service.provider import Layers, Provider, remote_hosts
from edgex_kit.service.rest import build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire.errors import Invalid, NotFound, Unavailable
from edgex_standin.address import free_port
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.kit.slow_keeper import SlowKeeper

Open = Callable[..., Provider]


def from_files(packaged: Path, *argv: str) -> Provider:
    return Provider("device-cam", "device-services", parse_flags(argv, {}), packaged)


async def test_without_a_provider_the_file_and_the_environment_are_all(packaged: Path) -> None:
    layers = await from_files(packaged).load({"SERVICE_PORT": "1", "SERVICE_NEW": "x"})
    assert layers == Layers(
        private={
            "Writable": {"LogLevel": "INFO"},
            "Service": {"Host": "localhost", "Port": 1, "Open": True},
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
    with pytest.raises(Invalid, match="-rsh takes three comma-separated hosts, not 2"):
        remote_hosts(tree, ("a", "b"))
