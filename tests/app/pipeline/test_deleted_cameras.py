"""A camera that core-metadata has deleted leaves page and status; one that is only silent stays."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from app_inference.pipeline import deleted_cameras as module
from app_inference.pipeline.deleted_cameras import follow_deletions
from app_inference.pipeline.live_view import LiveView
from edgex_kit import supervision
from edgex_kit.bus.bus import open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.clients.metadata import Metadata
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.topics import Topics

from tests.conformance.app_process import METER, configure, open_stage, run_app, save_meter
from tests.conformance.peers import until

PROFILE = "departing-camera"


@dataclass
class Registrar:
    """What an administrator does in core-metadata."""

    url: str

    def add(self, camera: str) -> None:
        facts = {"name": camera, "serviceName": PROFILE, "profileName": PROFILE}
        device = {**facts, "adminState": "UNLOCKED", "operatingState": "UP", "protocols": {"Camera": {"Source": "x"}}}
        self._post("device?bypassValidation=true", "device", device)

    def delete(self, camera: str) -> None:
        requests.delete(f"{self.url}/api/v3/device/name/{camera}", timeout=5).raise_for_status()

    def prepare(self) -> None:
        resource = {"name": "Frame", "properties": {"valueType": "Binary", "readWrite": "R", "mediaType": "image/jpeg"}}
        self._post("deviceprofile", "profile", {"name": PROFILE, "deviceResources": [resource]})
        service = {"name": PROFILE, "baseAddress": "http://localhost:1", "adminState": "UNLOCKED"}
        self._post("deviceservice", "service", service)

    def _post(self, path: str, key: str, item: dict[str, Any]) -> None:
        body = [{"apiVersion": "v3", key: {"apiVersion": "v3", **item}}]
        (answer,) = requests.post(f"{self.url}/api/v3/{path}", json=body, timeout=5).json()
        assert answer["statusCode"] in (201, 409), answer


@pytest.fixture
def registrar(edgex: Any) -> Iterator[Registrar]:
    registrar = Registrar(edgex.metadata)
    registrar.prepare()
    return registrar


@pytest.fixture
def camera() -> str:
    return f"leaving-{uuid.uuid4().hex[:8]}"


@contextlib.asynccontextmanager
async def following(edgex: Any, url: str, view: LiveView) -> AsyncIterator[None]:
    """The task alone, with core-metadata at `url`."""

    async def locate() -> str:
        return url

    metadata, metrics = Metadata(locate, wait=1), Metrics("app-inference")
    async with open_bus(BusSettings(edgex.broker.host, edgex.broker.port)) as bus:
        service = SimpleNamespace(bus=bus, topics=Topics(), metadata=metadata, metrics=metrics)
        task = asyncio.create_task(follow_deletions(service, view, view.forget))  # type: ignore[arg-type]
        async with asyncio.timeout(5):
            while not bus._subscriptions.patterns:
                await asyncio.sleep(0.01)
        assert await bus.settle(5)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            metadata.close()


async def names(view: LiveView, *wanted: str, wait: float = 5) -> bool:
    """Whether exactly these cameras are there, soon."""
    deadline = time.monotonic() + wait
    while (known := [row["name"] for row in view.status()]) != sorted(wanted) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return known == sorted(wanted)


def seen(*cameras: str) -> LiveView:
    view = LiveView()
    for camera in cameras:
        view.failed(camera, "frame", "it was cut off")
    return view


async def test_an_announced_deletion_takes_the_camera_away_after_the_frames_under_way(
    edgex: Any, registrar: Registrar, camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.2)
    registrar.add(camera)
    view = seen(camera, "yard")
    async with following(edgex, edgex.metadata, view):
        await asyncio.to_thread(registrar.delete, camera)
        assert await names(view, "yard")


async def test_a_camera_that_is_deleted_and_added_again_at_once_stays_as_it_was(
    edgex: Any, registrar: Registrar, camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.4)
    gone = f"gone-{camera}"
    registrar.add(camera)
    registrar.add(gone)
    view = seen(camera, gone)
    async with following(edgex, edgex.metadata, view):
        await asyncio.to_thread(registrar.delete, camera)
        await asyncio.to_thread(registrar.add, camera)
        await asyncio.to_thread(registrar.delete, gone)
        assert await names(view, camera)  # the other, deleted after it, has gone
        await asyncio.to_thread(registrar.delete, camera)
        assert await names(view)


async def test_a_camera_that_comes_back_stays_even_if_listening_failed_meanwhile(
    edgex: Any, registrar: Registrar, camera: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "GRACE", 2.0)
    monkeypatch.setattr(supervision, "BACKOFF", supervision.every(0.05))
    gone, broken = f"gone-{camera}", f"broken-{camera}"
    monkeypatch.setattr(module, "convert", failing_for(broken, module.convert))
    registrar.add(camera)
    view = seen(camera, gone)
    async with following(edgex, edgex.metadata, view):
        await asyncio.to_thread(registrar.delete, camera)
        await asyncio.to_thread(registrar.add, broken)
        async with asyncio.timeout(5):
            while "deleted cameras failed" not in caplog.text:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # it listens again
        await asyncio.to_thread(registrar.add, camera)
        await asyncio.to_thread(registrar.add, gone)
        await asyncio.to_thread(registrar.delete, gone)
        assert await names(view, camera)  # the other, deleted after it, has gone


def failing_for(camera: str, convert: Any) -> Any:
    def failing(details: Any, kind: Any) -> Any:
        device = convert(details, kind)
        if device.name == camera:
            raise LookupError(camera)
        return device

    return failing


async def test_of_the_silent_ones_those_go_that_core_metadata_does_not_know(
    edgex: Any, registrar: Registrar, camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.3)
    registrar.add(camera)
    view = seen(camera, f"unknown-{camera}")
    async with following(edgex, edgex.metadata, view):
        assert await names(view, camera)
        await asyncio.sleep(0.8)
        assert await names(view, camera)  # it exists: that it is silent is for an operator to see


async def test_one_that_sends_stays_whether_core_metadata_knows_it_or_not(
    edgex: Any, camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE", 1.0)
    view = seen(camera)
    async with following(edgex, edgex.metadata, view):
        for _ in range(30):
            assert [row["name"] for row in view.status()] == [camera]  # it would come back with its next frame
            view.failed(camera, "frame", "it was cut off")
            await asyncio.sleep(0.05)


async def test_without_core_metadata_nobody_goes(edgex: Any, camera: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.1)
    view = seen(camera)
    async with following(edgex, "http://127.0.0.1:9", view):
        await asyncio.sleep(0.6)
        assert await names(view, camera)


async def test_an_announcement_nobody_understands_is_counted_and_the_next_is_followed(
    edgex: Any, registrar: Registrar, camera: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    registrar.add(camera)
    view = seen(camera)
    async with (
        following(edgex, edgex.metadata, view),
        open_bus(BusSettings(edgex.broker.host, edgex.broker.port)) as bus,
    ):
        assert await bus.settle(5)
        for _ in range(3):
            bus.publish("edgex/system-events/core-metadata/device/delete/x/y", b"{}")
        await asyncio.to_thread(registrar.delete, camera)
        assert await names(view)
    assert caplog.text.count("device changes: a message on") == 1


@pytest.mark.timeout(60)
def test_the_row_of_a_running_service_goes_with_its_camera(
    edgex: Any, registrar: Registrar, camera: str, tmp_path: Any
) -> None:
    save_meter(tmp_path / "models")
    bus = {"Host": edgex.broker.host, "Port": edgex.broker.port}
    configure(tmp_path, MessageBus=bus, Writable={"Pipelines": {"lamps": {**METER, "Cameras": camera}}})
    registrar.add(camera)
    with (
        run_app(tmp_path, f"-cp={edgex.provider}", key=f"app-departing-{camera[-6:]}") as app,
        open_stage(edgex.broker.host, edgex.broker.port) as stage,
    ):
        stage.show(camera)
        until(lambda: app.camera(camera).get("results"), "a result")
        registrar.delete(camera)
        until(lambda: not app.camera(camera), "its row is gone")
        assert camera not in requests.get(f"{app.url}/metrics", timeout=5).text
        assert requests.get(f"{app.url}/api/v3/vision/picture/{camera}", timeout=5).status_code == 404
