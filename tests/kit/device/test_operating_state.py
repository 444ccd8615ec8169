"""operatingState is patched only when it changes, reaches core-metadata in the end, and follows failed commands."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from edgex_kit.config.settings import ServiceSection
from edgex_kit.device import operating_state
from edgex_kit.service.rest import Json, build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import DriverFailed, Locked
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.conformance.waiting import until_soon
from tests.kit.device.conftest import OpenRig, Rig, profile_of

pytestmark = pytest.mark.integration

Answer = Callable[[str], int]  # the status with which core-metadata answers a PATCH of a device


@asynccontextmanager
async def patched(
    open_rig: OpenRig, answer: Answer = lambda _: 200
) -> AsyncIterator[tuple[Rig, list[tuple[str, str]]]]:
    """A service that reports to a core-metadata which records what it is sent: (device, state)."""
    patches: list[tuple[str, str]] = []

    async def patch(request: Request) -> Response:
        change = (await request.json())[0]["device"]
        patches.append((change["name"], change["operatingState"]))
        status = answer(change["name"])
        return Json([{"apiVersion": "v3", "statusCode": status, "message": "no"}], 207)

    core = build_app([Route("/api/v3/device", patch, methods=["PATCH"])], ServiceSection())
    async with open_server(core, "127.0.0.1", 0) as port, open_rig(f"http://127.0.0.1:{port}") as rig:
        running = asyncio.create_task(rig.operating.run())
        try:
            yield rig, patches
        finally:
            running.cancel()


async def settled(rig: Rig) -> None:
    await until_soon(lambda: not rig.operating._wanted, "everything is reported")
    await asyncio.sleep(0.1)


async def test_down_and_up_again_in_an_instant_ends_up(open_rig: OpenRig, device: Device) -> None:
    """The system event of the first change comes too late to be relied on."""
    name = device.name
    async with patched(open_rig) as (rig, patches):
        rig.operating.want(name, "DOWN", "the plug")
        await until_soon(lambda: rig.devices.get(name).operating_state == "DOWN", "it is DOWN")
        with pytest.raises(Locked, match="DOWN: the plug"):
            await rig.commands.read(name, "Rate")
        rig.operating.want(name, "UP")
        rig.operating.want(name, "DOWN", "again")
        rig.operating.want(name, "UP")
        await until_soon(lambda: rig.devices.get(name).operating_state == "UP", "it is UP")
        assert rig.operating.reason(name) == ""
        await settled(rig)
        assert patches == [(name, "DOWN"), (name, "UP")]
        rig.operating.want(name, "UP")
        await settled(rig)
        assert len(patches) == 2, "nothing is reported twice"


@pytest.mark.fault(35)
async def test_a_device_that_is_always_refused_delays_no_other_and_is_logged_once(
    open_rig: OpenRig, device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operating_state, "_AGAIN", 0.05)
    async with patched(open_rig, lambda name: 500 if name == "refused" else 200) as (rig, patches):
        for name in ("refused", "first", "second"):
            rig.devices.put(msgspec.structs.replace(device, name=name))
            rig.operating.want(name, "DOWN", "lost")
        await until_soon(lambda: patches.count(("refused", "DOWN")) == 3, "it is tried again and again")
        assert [name for name, _ in patches[:4]] == ["refused", "first", "second", "refused"]
        states = {name: rig.devices.get(name).operating_state for name in ("refused", "first", "second")}
        assert states == {"refused": "UP", "first": "DOWN", "second": "DOWN"}
    assert capsys.readouterr().err.count("cannot be set") == 1


async def test_failures_are_counted_in_a_row(open_rig: OpenRig, device: Device) -> None:
    async with open_rig(Device={"AllowedFails": 2, "DeviceDownTimeout": 30}) as rig:
        name = device.name
        for source in ("Broken", "Rate", "Broken"):
            try:
                await rig.commands.read(name, source)
            except DriverFailed:
                continue
        assert not rig.operating.is_trying(name)
        with pytest.raises(DriverFailed):
            await rig.commands.read(name, "Broken")
        assert rig.operating.reason(name)
        assert rig.operating.is_trying(name)
        rig.devices.put(msgspec.structs.replace(device, operating_state="DOWN"))
        assert await rig.commands.read(name, "Rate"), "a DOWN device is tried"
        with pytest.raises(Locked):
            await rig.commands.read(name, "Rate")


async def test_a_deleted_device_is_forgotten(open_rig: OpenRig, device: Device) -> None:
    async with open_rig() as rig:
        rig.operating.want(device.name, "DOWN", "x")
        rig.devices.remove(device.name)
        assert rig.operating.reason(device.name) == ""
        assert rig.operating._wanted == {}


@pytest.mark.parametrize("has_resources", [True, False])
async def test_a_down_device_is_retried_until_it_answers_or_has_nothing_to_read(
    open_rig: OpenRig, device: Device, profile: DeviceProfile, *, has_resources: bool
) -> None:
    async with open_rig(Device={"AllowedFails": 1, "DeviceDownTimeout": 0.1}) as rig:
        rig.devices.put_profile(profile if has_resources else profile_of())
        rig.devices.put(msgspec.structs.replace(device, operating_state="DOWN"))
        rig.operating.failed(device.name)
        assert rig.operating.is_trying(device.name)
        retrying = asyncio.create_task(rig.operating.retry(rig.commands))
        await until_soon(lambda: not rig.operating.is_trying(device.name), "it is taken for UP")
        assert rig.operating.reason(device.name) == ""
        retrying.cancel()


async def test_without_a_timeout_nothing_is_retried(open_rig: OpenRig) -> None:
    async with open_rig(Device={"AllowedFails": 1}) as rig, asyncio.timeout(1):
        await rig.operating.retry(rig.commands)
