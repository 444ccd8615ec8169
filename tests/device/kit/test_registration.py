"""The service's place in core-metadata, from the start on and after the bus was away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest
from device_camera.__main__ import serve
from device_camera.config import CameraService
from edgex_kit.clients.metadata import Metadata
from edgex_kit.config.flags import Flags
from edgex_kit.device.registration import base_name, until_answered
from edgex_kit.service.service import Service
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import Conflict, Unavailable, Unreachable
from edgex_standin.address import Address, free_port

OpenService = Callable[..., AbstractAsyncContextManager[Service[CameraService]]]
OpenStandin = Callable[..., AbstractContextManager[Any]]


class Broker(Protocol):
    address: Address

    def start(self) -> None: ...
    def stop(self) -> None: ...


@contextlib.asynccontextmanager
async def running(service: Service[CameraService]) -> AsyncIterator["asyncio.Task[None]"]:
    """The whole service for the length of the block."""
    task = asyncio.create_task(serve(service))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], Any], what: str, wait: float = 15) -> Any:
    async with asyncio.timeout(wait):
        while not (found := await check()):
            await asyncio.sleep(0.05)
    assert found, what
    return found


async def test_a_service_waits_for_core_metadata_and_goes_on_when_it_is_there(
    open_camera_service: OpenService,
    open_standin: OpenStandin,
    broker: Address,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port("127.0.0.1")
    empty = {"ProfilesDir": "", "DevicesDir": "", "ProvisionWatchersDir": ""}
    async with (
        open_camera_service(broker, f"http://127.0.0.1:{port}", Device=empty) as service,
        running(service) as task,
    ):
        await asyncio.sleep(1)
        assert not task.done()
        with open_standin("--state=:memory:", f"--broker={broker}", f"--metadata-port={port}"):
            record = await until(lambda: service.metadata.service(service.name), "the record is there")
        assert record.base_address.startswith("http://127.0.0.1:")


async def test_what_happened_while_the_bus_was_away_is_read_when_it_is_back(
    open_camera_service: OpenService,
    open_standin: OpenStandin,
    private_broker: Broker,
    pattern_device: Device,
    camera_profile: DeviceProfile,
) -> None:
    with open_standin("--state=:memory:", f"--broker={private_broker.address}") as edgex:
        async with (
            open_camera_service(private_broker.address, edgex.metadata) as service,
            running(service),
        ):
            metadata: Metadata = service.metadata
            await until(lambda: metadata.service(service.name), "the service has joined")
            await metadata.add_profiles([camera_profile])
            await metadata.add_devices([pattern_device], bypass_validation=True)

            async def captures() -> bool:
                return any(metric.name == "FramesCaptured" and metric.value for metric in service.metrics)

            await until(captures, "the device's camera runs")
            await asyncio.to_thread(private_broker.stop)
            await until(lambda: _is(not service.bus.is_connected), "the bus is away")
            await metadata.delete_device(pattern_device.name)
            await asyncio.to_thread(private_broker.start)

            async def is_gone() -> bool:
                return not any(metric.tags.get("device") == pattern_device.name for metric in service.metrics)

            await until(is_gone, "the deleted device is gone")


async def _is(found: object) -> bool:
    return bool(found)


async def test_a_refusal_is_not_waited_out() -> None:
    async def refuse() -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await until_answered("core-metadata", refuse)


async def test_waiting_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgex_kit.device import registration as joining

    monkeypatch.setattr(joining, "_AGAIN", 0.001)
    answers = iter([Unreachable("nobody"), Unreachable("nobody"), Unavailable("not healthy"), None])

    async def call() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    await until_answered("core-metadata", call)
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for core-metadata: nobody",
        "waiting for core-metadata: not healthy",
    ]


def test_watchers_belong_to_all_instances_of_a_service() -> None:
    class Named:
        name = "device-camera_gate"
        flags = Flags(instance="gate")

    assert base_name(Named) == "device-camera"  # type: ignore[arg-type] - it needs no more of a service
