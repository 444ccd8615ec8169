"""What is asked of core-metadata at the start: its version, and a place for our profiles."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from app_inference.devices.service import await_metadata, publish_profiles, result_profiles
from app_inference.settings import AppSettings
from edgex_kit.config.flags import Flags
from edgex_kit.service.ports import bind
from edgex_kit.service.rest import Json
from edgex_kit.service.server import serve_on
from edgex_kit.service.service import Service, open_service
from edgex_kit.wire.errors import Unavailable
from edgex_standin.address import Address, free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.conformance.app_process import configure


@contextlib.asynccontextmanager
async def open_own(
    folder: Path, broker: Address, metadata: Address, **flags: Any
) -> AsyncIterator[Service[AppSettings]]:
    """A service in file mode that looks for core-metadata at an address."""
    client = {"Clients": {"core-metadata": {"Host": metadata.host, "Port": metadata.port}}}
    configure(folder, MessageBus={"Host": broker.host, "Port": broker.port}, **client)
    known = replace(Flags(config_dir=str(folder), startup_s=2, interval_s=0.05), **flags)
    name = f"app-{uuid.uuid4().hex[:6]}"
    async with open_service(name, "app-services", AppSettings, known, folder) as service:
        yield service


@contextlib.asynccontextmanager
async def core_metadata(version: str, address: Address | None = None) -> AsyncIterator[Address]:
    """Something that answers as core-metadata does when it is asked for its version."""

    async def answer(_request: Request) -> Response:
        return Json({"apiVersion": "v3", "version": version, "serviceName": "core-metadata"})

    sock = bind("127.0.0.1", address.port if address else 0)
    async with serve_on(Starlette(routes=[Route("/api/v3/version", answer)]), sock):
        yield Address("127.0.0.1", sock.getsockname()[1])


@pytest.mark.parametrize("version", ["4.0.0", "4.9.1-dev.3", "0.0.0"])
async def test_the_same_major_version_and_a_development_build_are_fine(
    broker: Address, tmp_path: Path, version: str
) -> None:
    async with core_metadata(version) as metadata, open_own(tmp_path, broker, metadata) as service:
        await await_metadata(service)


async def test_another_major_version_ends_the_start_and_says_what_to_do(broker: Address, tmp_path: Path) -> None:
    async with core_metadata("3.1.0") as metadata, open_own(tmp_path, broker, metadata) as service:
        with pytest.raises(Unavailable, match=r"core-metadata is version 3.1.0, .* made for 4.x; -s skips this check"):
            await await_metadata(service)


async def test_with_s_nobody_is_asked(broker: Address, tmp_path: Path) -> None:
    nowhere = Address("127.0.0.1", free_port("127.0.0.1"))
    async with open_own(tmp_path, broker, nowhere, skip_version_check=True) as service:
        await await_metadata(service)


async def test_a_core_metadata_that_comes_later_is_waited_for(broker: Address, tmp_path: Path) -> None:
    later = Address("127.0.0.1", free_port("127.0.0.1"))
    async with open_own(tmp_path, broker, later) as service:
        waiting = asyncio.create_task(await_metadata(service))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        async with core_metadata("4.0.2", later):
            await asyncio.wait_for(waiting, 5)


async def test_one_that_never_comes_ends_the_start(broker: Address, tmp_path: Path) -> None:
    nowhere = Address("127.0.0.1", free_port("127.0.0.1"))
    async with open_own(tmp_path, broker, nowhere, startup_s=0.3) as service:
        with pytest.raises(Unavailable, match=r"gave up after 0.3 s: core-metadata at .* does not answer"):
            await await_metadata(service)


async def test_our_profiles_are_stored_and_a_second_start_does_not_mind(edgex: Any, tmp_path: Path) -> None:
    host, port = edgex.metadata.removeprefix("http://").split(":")
    async with open_own(tmp_path, edgex.broker, Address(host, int(port))) as service:
        await publish_profiles(service)
        await publish_profiles(service)
        for profile in result_profiles():
            url = f"{edgex.metadata}/api/v3/deviceprofile/name/{profile.name}"
            stored = (await asyncio.to_thread(requests.get, url, timeout=5)).json()["profile"]
            assert [it["name"] for it in stored["deviceResources"]] == [it.name for it in profile.device_resources]


async def test_profiles_are_stored_when_core_metadata_comes_later(
    edgex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = edgex.metadata.removeprefix("http://").split(":")
    nowhere = Address("127.0.0.1", free_port("127.0.0.1"))
    async with open_own(tmp_path, edgex.broker, nowhere) as service:
        logging.getLogger().addHandler(caplog.handler)
        storing = asyncio.create_task(publish_profiles(service, retry_s=0.1))
        await asyncio.sleep(0.5)
        assert not storing.done()
        assert caplog.text.count("the result profiles could not be stored") == 1
        monkeypatch.setattr(service.metadata, "_locate", _at(f"http://{host}:{port}"))
        await asyncio.wait_for(storing, 5)


def _at(url: str) -> Any:
    async def locate() -> str:
        return url

    return locate
