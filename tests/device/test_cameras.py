"""A camera for every device: what is done when devices change."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from device_camera.cameras import LOCKED, Cameras, open_cameras
from device_camera.capture.camera import Camera
from device_camera.capture.state import State, Status
from device_camera.config import CameraDefaults
from device_camera.settings import CameraSettings, settings_from_device
from edgex_kit.device.cache import Devices
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import DriverFailed, NotFound

from tests.conformance.waiting import until_soon


class World:
    """Devices, their cameras, and the statuses that were reported."""

    def __init__(self) -> None:
        self.devices = Devices("s")
        self.reported: list[tuple[str, State, str]] = []
        self.publishing: list[str] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.cameras: Cameras

    def settings_for(self, device: Device) -> CameraSettings:
        return settings_from_device(device, CameraDefaults(), self._secret)

    def tell(self, name: str, status: Status) -> None:
        self.reported.append((name, status.state, status.reason))

    async def publish(self, camera: Camera) -> None:
        self.publishing.append(camera.name)
        try:
            await asyncio.Event().wait()
        finally:
            self.publishing.remove(camera.name)

    def _secret(self, name: str) -> dict[str, str]:
        if name not in self.secrets:
            raise NotFound(f"no secret named '{name}'")
        return self.secrets[name]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with open_cameras(made.devices, made.settings_for, made.publish, [made.tell]) as cameras:
        made.cameras = cameras
        yield made
    assert made.publishing == []


def device(name: str = "cam", **fields: Any) -> Device:
    defaults: dict[str, Any] = {
        "admin_state": "UNLOCKED",
        "operating_state": "UP",
        "service_name": "s",
        "protocols": {"Camera": {"Source": "pattern:?fps=50"}},
    }
    return Device(name=name, **{**defaults, **fields})


def with_camera(one: Device, **properties: Any) -> Device:
    return msgspec.structs.replace(one, protocols={"Camera": {"Source": "pattern:?fps=50", **properties}})


def is_streaming(world: World, name: str = "cam") -> bool:
    return world.cameras.get(name).status.state is State.STREAMING


async def test_a_device_gets_a_camera_that_streams_and_loses_it_with_its_end(world: World) -> None:
    world.devices.put(device())
    await until_soon(lambda: is_streaming(world), "it streams")
    assert world.publishing == ["cam"]
    camera = world.cameras.get("cam")
    world.devices.remove("cam")
    await until_soon(lambda: camera.status == Status(State.STOPPED, "closed", camera.status.since_ns), "it is closed")
    with pytest.raises(DriverFailed, match="device 'cam' has no camera"):
        world.cameras.get("cam")


async def test_a_device_may_be_taken_away_before_its_camera_has_begun(world: World) -> None:
    world.devices.put(device())
    world.devices.remove("cam")
    world.devices.put(device())
    await until_soon(lambda: is_streaming(world), "the second one streams")
    assert len(world.cameras.all()) == 1


async def test_a_locked_devices_camera_rests_and_its_numbers_go_on(world: World) -> None:
    world.devices.put(device())
    await until_soon(lambda: world.cameras.get("cam").counters.captured > 3, "it captures")
    camera = world.cameras.get("cam")
    world.devices.put(device(admin_state="LOCKED"))
    await until_soon(lambda: camera.status.state is State.STOPPED, "it rests")
    assert camera.status.reason == LOCKED
    captured = camera.counters.captured
    world.devices.put(device())
    await until_soon(lambda: camera.counters.captured > captured, "it goes on")
    assert world.cameras.get("cam") is camera


async def test_a_locked_service_locks_what_a_command_has_started_too(world: World) -> None:
    world.devices.put(with_camera(device(), AutoStreaming=False))
    camera = world.cameras.get("cam")
    camera.start_streaming()
    await until_soon(lambda: camera.status.state is State.STREAMING, "it streams")
    world.devices.put_service("LOCKED", ())
    await until_soon(lambda: camera.status.state is State.STOPPED, "it rests")
    world.devices.put_service("UNLOCKED", ())
    await asyncio.sleep(0.1)
    assert camera.status.state is State.STOPPED, "nobody asked for it again"


async def test_a_new_device_that_is_locked_does_not_stream(world: World) -> None:
    world.devices.put(device(admin_state="LOCKED"))
    await until_soon(lambda: world.publishing, "its camera is there")
    assert not world.cameras.get("cam").is_streaming_requested


async def test_other_settings_take_effect_in_the_camera_that_is_there(world: World) -> None:
    world.devices.put(device())
    camera = world.cameras.get("cam")
    world.devices.put(with_camera(device(), Fps=7, Size="320x240"))
    assert world.cameras.get("cam") is camera
    assert (camera.settings.fps, camera.settings.encoding.size) == (7.0, (320, 240))
    world.devices.put(msgspec.structs.replace(world.devices.get("cam"), operating_state="DOWN"))
    assert camera.settings.fps == 7.0


async def test_what_a_command_has_begun_goes_on_when_something_else_changes(world: World) -> None:
    world.devices.put(with_camera(device(), AutoStreaming=False))
    camera = world.cameras.get("cam")
    camera.start_streaming()
    world.devices.put(with_camera(device(), AutoStreaming=False, Fps=3))
    assert camera.is_streaming_requested
    world.devices.put(with_camera(device(), AutoStreaming=True))
    world.devices.put(with_camera(device(), AutoStreaming=False))
    assert not camera.is_streaming_requested


async def test_a_device_whose_camera_cannot_be_has_a_reason(world: World) -> None:
    world.devices.put(with_camera(device(), SecretName="gate"))
    assert world.reported == [("cam", State.LOST, "no secret named 'gate'")]
    with pytest.raises(DriverFailed, match="device 'cam' has no camera: no secret named 'gate'"):
        world.cameras.get("cam")
    world.secrets["gate"] = {"username": "u", "password": "p"}
    world.cameras.reconcile_all()
    await until_soon(lambda: is_streaming(world), "it streams now")


@pytest.mark.fault(27)
async def test_an_unknown_key_is_logged_once_with_the_nearest_known_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.devices.put(with_camera(device(), Colour="red", quality=5, Nonsense=1))
    world.devices.put(with_camera(device(), Colour="red", quality=5, Nonsense=1, Fps=3))
    said = [record.message for record in caplog.records if "is not known" in record.message]
    assert len(said) == 3
    assert any("quality" in line and "Quality" in line for line in said)
    await until_soon(lambda: is_streaming(world), "it streams all the same")


async def test_a_source_that_becomes_wrong_closes_the_camera(world: World) -> None:
    world.devices.put(device())
    await until_soon(lambda: is_streaming(world), "it streams")
    world.devices.put(with_camera(device(), Source="gopher://x"))
    with pytest.raises(DriverFailed, match="gopher"):
        world.cameras.get("cam")
    await until_soon(lambda: world.publishing == [], "its frames are no longer published")


async def test_a_lost_camera_is_reported_of_and_found_again(world: World, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    world.devices.put(msgspec.structs.replace(device(), protocols={"Camera": {"Source": str(pictures)}}))
    await until_soon(lambda: any(state is State.LOST for _, state, _ in world.reported), "it is lost")
    name, _, reason = next(one for one in world.reported if one[1] is State.LOST)
    assert name == "cam"
    assert "no such file" in reason
    assert str(pictures) in reason


async def test_publishing_that_fails_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[str] = []

    async def fails_once(camera: Camera) -> None:
        tries.append(camera.name)
        if len(tries) == 1:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    devices = Devices("s")
    async with open_cameras(devices, World().settings_for, fails_once, []):
        devices.put(device())
        await until_soon(lambda: len(tries) == 2, "it goes on")
    assert "publishing frames of 'cam' failed" in caplog.text
