"""The resources of the shipped profile, read and written on cameras that run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from device_camera import metrics
from device_camera.capture.camera import Camera
from device_camera.capture.loop import Facts
from device_camera.capture.state import State
from device_camera.frame import Encoding, Pixels, encode_jpeg
from device_camera.settings import CameraSettings
from device_camera.sources.factory import parse_source
from device_camera.v4l2.node import CONTROLS
from edgex_kit.jpeg import read_header
from edgex_kit.wire.devices import DeviceProfile, DeviceService
from edgex_kit.wire.errors import DriverFailed, Invalid

from tests.conformance.waiting import until_soon
from tests.device.parts import OpenParts, Parts

pytestmark = pytest.mark.integration
NEEDS = "PictureNeeds"


async def test_every_readable_resource_of_a_stream_can_be_read_but_for_its_controls(
    open_parts: OpenParts, camera_profile: DeviceProfile
) -> None:
    async with open_parts() as parts:
        await until_soon(lambda: parts.camera.newest, "there is a picture")
        for resource in camera_profile.device_resources or ():
            if resource.name in CONTROLS:
                with pytest.raises(Invalid):
                    await parts.commands.read(parts.name, resource.name, regex=False)
            elif resource.is_readable:
                assert await parts.commands.read(parts.name, resource.name, regex=False)
        event = await parts.commands.read(parts.name, "GetCameraMetaData")
        info, data_format, *_ = (reading.object_value for reading in event.readings)
        assert info["Driver"] == "pattern"
        assert (data_format["Width"], data_format["Height"]) == (640, 480)
        assert data_format["FrameRates"] == [{"Numerator": 50, "Denominator": 1}]


async def test_a_snapshot_is_tagged_with_its_size_alone(open_parts: OpenParts) -> None:
    async with open_parts(Source="pattern:?size=320x240", AutoStreaming=False) as parts:
        event = await parts.commands.read(parts.name, "Snapshot")
        (reading,) = event.readings
        picture = cv2.imdecode(np.frombuffer(reading.binary_value, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (240, 320, 3)
        assert event.tags == {"width": 320, "height": 240}
        assert not parts.camera.is_streaming_requested


async def test_streaming_is_started_with_options_and_answers_after_the_first_frame(open_parts: OpenParts) -> None:
    async with open_parts(Source="pattern:", AutoStreaming=False) as parts:
        options = {"OutputFps": "12", "OutputImageSize": "160x0", "JpegQuality": 50}
        assert await parts.write("StartStreaming", options) is None
        assert await parts.read("IsStreaming") == "true"
        assert await parts.read("FrameSize") == "160x120"
        assert await parts.read("FrameRateFps") == "1.2e+01"
        await parts.commands.write(parts.name, "StopStreaming", {})
        await until_soon(lambda: parts.camera.status.state is State.STOPPED, "it has stopped")
        status = await parts.read("StreamingStatus")
        assert (status["IsStreaming"], status["State"]) == (False, "stopped")
        assert await parts.read("LastError") == ""
        assert await parts.commands.write(parts.name, "StartStreaming", {}) is None, "the profile's default: no options"


async def test_streaming_that_cannot_start_answers_with_the_cause_and_changes_nothing(
    open_parts: OpenParts, tmp_path: Path
) -> None:
    async with open_parts(Source=str(tmp_path / "none.mp4"), AutoStreaming=False) as parts:
        with pytest.raises(DriverFailed, match="no such file"):
            await parts.write("StartStreaming", {"OutputFps": 1})
        assert not parts.camera.is_streaming_requested
        assert parts.camera.settings.fps == 5.0
        with pytest.raises(Invalid, match="Speed"):
            await parts.write("StartStreaming", {"Speed": 1})
        with pytest.raises(DriverFailed, match="no such file"):
            await parts.read("Snapshot")


async def test_settings_are_changed_together_by_a_command(open_parts: OpenParts) -> None:
    async with open_parts() as parts:
        body = {"FrameRateFps": 4, "FrameSize": "320x240", "JpegQuality": "70"}
        event = await parts.commands.write(parts.name, "FrameQuality", body)
        assert event is not None
        assert [reading.value for reading in event.readings] == ["4e+00", "320x240", "70"]
        settings = parts.camera.settings
        assert (settings.fps, settings.encoding.size, settings.encoding.quality) == (4.0, (320, 240), 70)
        for resource, wrong in (("FrameSize", "big"), ("FrameRateFps", None)):
            with pytest.raises(Invalid):
                await parts.write(resource, wrong)


async def test_an_unknown_function_of_the_profile_is_named(
    open_parts: OpenParts, camera_profile: DeviceProfile
) -> None:
    (first, *_) = camera_profile.device_resources or ()
    broken = msgspec.structs.replace(first, attributes={"getFunction": "Levitate"})
    async with open_parts() as parts:
        parts.devices.put_profile(
            msgspec.structs.replace(camera_profile, device_resources=(broken,), device_commands=())
        )
        with pytest.raises(DriverFailed, match="Levitate"):
            await parts.read("Frame")


async def test_a_slow_camera_is_reported_before_the_request_times_out(open_parts: OpenParts) -> None:
    """The camera's own error is worth more than `request timeout`, so the command waits a little less long."""
    limits = {"Host": "127.0.0.1", "Port": 0, "RequestTimeout": "1s"}
    slow = {"Source": "rtsp://127.0.0.1:9/x", "AutoStreaming": False}
    async with open_parts({"Service": limits}, **slow) as parts, parts.served() as client:
        answer = await client.get(f"/api/v3/device/name/{parts.name}/Snapshot")
        assert answer.status_code == 500
        assert "error reading Snapshot" in answer.json()["message"]


@contextlib.asynccontextmanager
async def _sampled(parts: Parts) -> AsyncIterator[None]:
    sampling = asyncio.create_task(parts.meters.run())
    try:
        yield
    finally:
        sampling.cancel()


async def test_frames_shrink_to_the_requested_size_and_grow_when_the_request_expires(
    open_parts: OpenParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_EVERY", 0.02)
    async with open_parts(Fps=0, Size="auto") as parts, _sampled(parts):
        camera = parts.camera
        await until_soon(lambda: camera.newest, "there is a picture")
        assert (camera.newest.width, camera.newest.full_size) == (640, (640, 480))
        assert (await parts.read("StreamingStatus"))["AutoSize"] == "its own: no requests"
        assert await parts.write(NEEDS, {"app": "300x300"}) is None, "it is repeated, and not stored each time"
        await until_soon(lambda: (camera.newest.width, camera.newest.height) == (400, 300), "it is small")
        assert (await parts.read("StreamingStatus"))["AutoSize"] == "300x300 for app"
        snapshot = await parts.commands.read(parts.name, "Snapshot")
        assert snapshot.tags["width"] == 640, "a person's picture is not the models'"
        assert read_header(snapshot.readings[0].binary_value).upright_size == (640, 480)
        assert camera.newest.width == 400
        camera.request_sizes({"app": "300x300"}, 0.1)
        await until_soon(lambda: camera.newest.width == 640, "the request has expired")
        assert (await parts.read("StreamingStatus"))["AutoSize"] == "its own: no requests"


async def test_a_device_that_is_changed_otherwise_keeps_the_requested_size(open_parts: OpenParts) -> None:
    async with open_parts(Fps=0, Size="auto", AutoStreaming=False) as parts:
        await parts.write(NEEDS, {"app": "300x300"})
        assert (await parts.commands.read(parts.name, "Snapshot")).tags["width"] == 640, "in full while nothing streams"
        parts.put(Fps=20, Size="auto")
        assert (parts.camera.settings.fps, parts.camera.settings.encoding.needed) == (20, (300, 300))
        await parts.write("StartStreaming", {"OutputImageSize": "auto"})
        assert parts.camera.settings.encoding.needed == (300, 300)
        parts.put(Fps=20, Size="320x0")
        assert parts.camera.settings.encoding.needed is None


async def test_a_camera_whose_size_is_set_refuses_requests(open_parts: OpenParts) -> None:
    async with open_parts() as parts:
        camera = parts.camera
        await until_soon(lambda: camera.newest, "there is a picture")
        assert camera.newest.full_size is None
        with pytest.raises(Invalid):
            await parts.write(NEEDS, {"app": "300x300"})
        assert (await parts.read("StreamingStatus"))["AutoSize"] == ""
        await parts.write("FrameSize", "auto")
        await parts.write(NEEDS, {"app": "300x300"})
        await until_soon(lambda: camera.newest.width == 400, "now it is")
        await parts.write("FrameSize", "320x240")
        await until_soon(lambda: camera.newest.width == 320, "a size that is set has priority")
        assert (await parts.read("StreamingStatus"))["AutoSize"] == ""


async def test_jpegs_that_pass_through_keep_their_size_and_the_request_is_refused(
    open_parts: OpenParts, tmp_path: Path, pictures: list[Pixels]
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    (tmp_path / "1.jpg").write_bytes(jpeg)
    async with open_parts(Source=str(tmp_path), Fps=20, Size="auto") as parts:
        await until_soon(lambda: parts.camera.newest, "there is a picture")
        with pytest.raises(Invalid):
            await parts.write(NEEDS, {"app": "32x24"})
        assert "pass through" in (await parts.read("StreamingStatus"))["AutoSize"]
        assert parts.camera.newest.jpeg == jpeg
        assert parts.camera.newest.full_size is None


@pytest.mark.parametrize("value", [{"app": "small"}, ["300x300"], "300x300"])
async def test_what_is_no_size_request_is_refused(open_parts: OpenParts, value: object) -> None:
    async with open_parts(Size="auto") as parts:
        with pytest.raises(Invalid):
            await parts.write(NEEDS, value)


@pytest.mark.parametrize(
    ("source", "full_size", "follows", "passes_through"),
    [
        ("/dev/video0", (1280, 720), True, False),
        ("/dev/video0", None, True, True),
        ("/dev/video0", None, False, False),  # opened before its size was auto: it may have modes
        ("http://camera/stream", None, False, True),
    ],
)
def test_whether_jpegs_pass_through_depends_on_how_the_source_was_opened(
    source: str, full_size: tuple[int, int] | None, follows: bool, passes_through: bool
) -> None:
    camera = Camera("cam", CameraSettings(source=parse_source(source), encoding=Encoding(follows=True)))
    camera._loop.facts = Facts(30.0, (1280, 720), True, full_size, follows)
    assert ("pass through" in camera.size_note) is passes_through


@pytest.mark.fault(23)
async def test_an_operating_state_set_by_hand_against_a_streaming_camera_is_set_back(
    open_parts: OpenParts, edgex: Any, camera_profile: DeviceProfile
) -> None:
    async with open_parts(metadata=edgex.metadata) as parts:
        metadata = parts.service.metadata
        record = DeviceService(name=parts.service.name, base_address="http://127.0.0.1:1", admin_state="UNLOCKED")
        await metadata.put_service(record)
        await metadata.add_profiles([camera_profile])
        await metadata.add_devices([parts.device], bypass_validation=True)
        reporting = asyncio.create_task(parts.operating.run())
        await until_soon(lambda: parts.camera.status.state is State.STREAMING, "it streams")
        await metadata.patch_device(parts.name, operatingState="DOWN")
        parts.devices.put(await metadata.device(parts.name))
        await until_soon(lambda: parts.devices.get(parts.name).operating_state == "UP", "it is UP again")
        assert (await metadata.device(parts.name)).operating_state == "UP"
        reporting.cancel()
        await metadata.delete_device(parts.name)
