"""Our records in core-metadata, at the start and after the bus was away."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import pytest
from edgex_kit import supervision
from edgex_kit.config.flags import Flags
from edgex_kit.device.registration import Registration, base_name, until_answered
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import Conflict, EdgexError, Unreachable
from edgex_standin.address import Address, free_port

from tests.conformance.waiting import until_soon
from tests.kit.brokers import Killable
from tests.kit.device.conftest import OpenRig

OpenStandin = Callable[..., AbstractContextManager[Any]]


async def nothing() -> None:
    """A service that has nothing to add to core-metadata."""


@pytest.mark.integration
async def test_a_service_waits_for_core_metadata(open_rig: OpenRig, open_standin: OpenStandin, broker: Address) -> None:
    port = free_port("127.0.0.1")
    async with open_rig(f"http://127.0.0.1:{port}", known=False) as rig:
        registering = asyncio.create_task(Registration(rig.service, rig.devices, nothing).register(4711))
        await asyncio.sleep(0.5)
        assert not registering.done()
        with open_standin("--state=:memory:", f"--broker={broker}", f"--metadata-port={port}"):
            async with asyncio.timeout(20):
                await registering
            record = await rig.service.metadata.service(rig.service.name)
        assert record is not None
        assert record.base_address == "http://127.0.0.1:4711"


@pytest.mark.integration
async def test_what_happened_while_the_bus_was_away_is_read_when_it_is_back(
    open_rig: OpenRig, open_standin: OpenStandin, killable: Killable, device: Device
) -> None:
    killable.start()
    with open_standin("--state=:memory:", f"--broker={killable.address}") as edgex:
        async with open_rig(edgex.metadata, broker=killable.address, known=False) as rig:
            registration = Registration(rig.service, rig.devices, nothing)
            await registration.register(1)
            refreshing = asyncio.create_task(registration.refresh())
            metadata = rig.service.metadata
            plain = msgspec.structs.replace(device, profile_name="")
            await metadata.add_devices([plain], bypass_validation=True)
            await registration.load()
            assert rig.devices.has(device.name)
            killable.kill()
            await until_soon(lambda: not rig.service.bus.is_connected, "the bus is away")
            await metadata.delete_device(device.name)
            killable.start()
            await until_soon(lambda: not rig.devices.has(device.name), "the deleted device is gone")
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing


async def test_a_refusal_is_not_waited_out() -> None:
    async def refuse() -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await until_answered("core-metadata", refuse)


async def test_each_cause_of_waiting_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "BACKOFF", supervision.every(0.001))
    answers = iter([Unreachable("nobody"), Unreachable("nobody"), EdgexError("broken"), None])

    async def call() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    await until_answered("core-metadata", call)
    assert len(caplog.records) == 2


def test_watchers_belong_to_all_instances_of_a_service() -> None:
    class Named:
        name = "device-camera_gate"
        flags = Flags(instance="gate")

    assert base_name(Named) == "device-camera"  # type: ignore[arg-type] - it needs no more of a service
