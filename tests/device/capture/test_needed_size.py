"""device_camera.capture.needed_size: cameras with `Size: auto`, by the commands of the shipped profile."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from device_camera.capture import needed_size as picture_needs
from device_camera.capture.loop import Facts
from device_camera.capture.size_requests import Leases
from device_camera.frame import Encoding, Pixels, encode_jpeg
from device_camera.jpeg import jpeg_size
from device_camera.settings import CameraSettings
from device_camera.sources.factory import parse_source
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import DriverFailed, Invalid

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]
NEEDS = "PictureNeeds"


def with_camera(device: Device, **properties: Any) -> Device:
    return msgspec.structs.replace(device, protocols={"Camera": properties})


async def object_of(room: Any, name: str, resource: str) -> Any:
    return (await room.commands.read(name, resource)).readings[0].object_value


async def test_frames_shrink_to_what_is_needed_and_grow_when_the_lease_ends(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_needs, "_LOOK_EVERY", 0.02)
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(with_camera(pattern_device, Source="pattern:?fps=50", Fps=0, Size="auto"))
        name = pattern_device.name
        camera = room.cameras.get(name)
        following = asyncio.create_task(picture_needs.run(room.cameras.all))
        try:
            await until_soon(lambda: camera.newest, "there is a picture")
            assert (camera.newest.width, camera.newest.full_size) == (640, (640, 480))
            assert (await object_of(room, name, "StreamingStatus"))["AutoSize"] == "its own: nobody asks for less"
            event = await room.commands.write(name, NEEDS, {NEEDS: {"eye": "300x300"}})
            assert event is None, "it is said again and again, and not stored each time"
            await until_soon(lambda: (camera.newest.width, camera.newest.height) == (400, 300), "it is small")
            assert (await object_of(room, name, "StreamingStatus"))["AutoSize"] == "300x300 for eye"
            snapshot = await room.commands.read(name, "Snapshot")
            assert snapshot.tags["width"] == 640, "a person's picture is not the models'"
            assert jpeg_size(snapshot.readings[0].binary_value) == (640, 480)
            assert camera.newest.width == 400
            picture_needs.ask(camera, {"eye": "300x300"}, 0.1)
            await until_soon(lambda: camera.newest.width == 640, "the lease has ended")
            assert (await object_of(room, name, "StreamingStatus"))["AutoSize"] == "its own: nobody asks for less"
        finally:
            following.cancel()


async def test_a_device_that_is_changed_otherwise_keeps_what_is_needed(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        name = pattern_device.name
        stopped = with_camera(pattern_device, Source="pattern:?fps=50", Fps=0, Size="auto", AutoStreaming=False)
        room.devices.put(stopped)
        await room.commands.write(name, NEEDS, {NEEDS: {"eye": "300x300"}})
        assert (await room.commands.read(name, "Snapshot")).tags["width"] == 640, "in full while nothing streams, too"
        room.devices.put(with_camera(pattern_device, Source="pattern:?fps=50", Fps=20, Size="auto"))
        settings = room.cameras.get(name).settings
        assert (settings.fps, settings.encoding.needed) == (20, (300, 300))
        await room.commands.write(name, "StartStreaming", {"StartStreaming": {"OutputImageSize": "auto"}})
        assert room.cameras.get(name).settings.encoding.needed == (300, 300)
        room.devices.put(with_camera(pattern_device, Source="pattern:?fps=50", Fps=20, Size="320x0"))
        assert room.cameras.get(name).settings.encoding.needed is None


async def test_a_camera_whose_size_is_set_is_not_asked_for_another(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        name = pattern_device.name
        camera = room.cameras.get(name)
        await until_soon(lambda: camera.newest, "there is a picture")
        assert camera.newest.full_size is None
        with pytest.raises(Invalid, match="its size is not auto"):
            await room.commands.write(name, NEEDS, {NEEDS: {"eye": "300x300"}})
        assert (await object_of(room, name, "StreamingStatus"))["AutoSize"] == ""
        await room.commands.write(name, "FrameSize", {"FrameSize": "auto"})
        await room.commands.write(name, NEEDS, {NEEDS: {"eye": "300x300"}})
        await until_soon(lambda: camera.newest.width == 400, "now it is")
        await room.commands.write(name, "FrameSize", {"FrameSize": "320x240"})
        await until_soon(lambda: camera.newest.width == 320, "a size that is set goes before")
        assert (await object_of(room, name, "StreamingStatus"))["AutoSize"] == ""


async def test_jpegs_that_pass_through_are_left_alone_and_who_asks_is_told(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, tmp_path: Path, pictures: list[Pixels]
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    (tmp_path / "1.jpg").write_bytes(jpeg)
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(with_camera(pattern_device, Source=str(tmp_path), Fps=20, Size="auto"))
        name = pattern_device.name
        camera = room.cameras.get(name)
        await until_soon(lambda: camera.newest, "there is a picture")
        with pytest.raises(DriverFailed, match="pass through as they are"):
            await room.commands.write(name, NEEDS, {NEEDS: {"eye": "32x24"}})
        assert (await object_of(room, name, "StreamingStatus"))["AutoSize"].startswith("gives JPEGs that pass through")
        assert camera.newest.jpeg == jpeg
        assert camera.newest.full_size is None


@pytest.mark.parametrize("value", [{"eye": "small"}, ["300x300"], "300x300"])
async def test_what_is_no_need_is_refused(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, value: object
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(with_camera(pattern_device, Source="pattern:", Size="auto"))
        with pytest.raises(Invalid):
            await room.commands.write(pattern_device.name, NEEDS, {NEEDS: value})


@pytest.mark.parametrize(
    ("source", "full_size", "follows", "is_left_alone"),
    [
        ("/dev/video0", (1280, 720), True, False),
        ("/dev/video0", None, True, True),
        ("/dev/video0", None, False, False),  # opened before its size was auto: it may have modes
        ("http://camera/stream", None, False, True),
    ],
)
def test_whether_jpegs_pass_through_is_judged_by_the_opening_and_not_by_an_older_frame(
    source: str, full_size: tuple[int, int] | None, follows: bool, is_left_alone: bool
) -> None:
    settings = CameraSettings(source=parse_source(source), encoding=Encoding(follows=True))
    facts = Facts(30.0, (1280, 720), True, full_size, follows)
    camera: Any = SimpleNamespace(facts=facts, settings=settings, needs=Leases())
    assert picture_needs.note_on(camera).startswith("gives JPEGs") is is_left_alone
