"""What the resources of the shipped profile mean, asked of cameras that run."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from device_camera.capture.state import State
from device_camera.v4l2.node import CONTROLS
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import DriverFailed, Invalid
from edgex_kit.wire.messages import Event

from tests.conformance.waiting import until_soon

OpenRoom = Callable[..., AbstractAsyncContextManager[Any]]


def value(event: Event) -> Any:
    (reading,) = event.readings
    return reading.object_value if reading.value_type == "Object" else reading.value


def with_camera(device: Device, **properties: Any) -> Device:
    return msgspec.structs.replace(device, protocols={"Camera": properties})


async def test_every_readable_resource_of_a_stream_can_be_read_but_for_its_controls(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        await until_soon(lambda: room.cameras.get(pattern_device.name).newest, "there is a picture")
        for resource in camera_profile.device_resources or ():
            if resource.name in CONTROLS:
                with pytest.raises(DriverFailed, match="only V4L2 cameras have controls"):
                    await room.commands.read(pattern_device.name, resource.name, regex=False)
            elif resource.is_readable:
                assert await room.commands.read(pattern_device.name, resource.name, regex=False)
        event = await room.commands.read(pattern_device.name, "GetCameraMetaData")
        info, data_format, *_ = (reading.object_value for reading in event.readings)
        assert info["Driver"] == "pattern"
        assert (data_format["Width"], data_format["Height"]) == (640, 480)
        assert data_format["FrameRates"] == [{"Numerator": 50, "Denominator": 1}]


async def test_a_snapshot_carries_the_tags_of_its_frame(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(with_camera(pattern_device, Source="pattern:?size=320x240", AutoStreaming=False))
        event = await room.commands.read(pattern_device.name, "Snapshot")
        (reading,) = event.readings
        picture = cv2.imdecode(np.frombuffer(reading.binary_value, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (240, 320, 3)
        assert (event.tags["width"], event.tags["height"], event.tags["seq"]) == (320, 240, 1)
        assert not room.cameras.get(pattern_device.name).is_streaming_wanted


async def test_streaming_is_started_with_options_and_answers_after_the_first_frame(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(with_camera(pattern_device, Source="pattern:", AutoStreaming=False))
        name = pattern_device.name
        options = {"OutputFps": "12", "OutputImageSize": "160x0", "JpegQuality": 50}
        assert await room.commands.write(name, "StartStreaming", {"StartStreaming": options}) is None
        assert value(await room.commands.read(name, "IsStreaming")) == "true"
        assert value(await room.commands.read(name, "FrameSize")) == "160x120"
        assert value(await room.commands.read(name, "FrameRateFps")) == "1.2e+01"
        await room.commands.write(name, "StopStreaming", {})
        camera = room.cameras.get(name)
        await until_soon(lambda: camera.status.state is State.STOPPED, "it has stopped")
        status = value(await room.commands.read(name, "StreamingStatus"))
        assert (status["IsStreaming"], status["State"]) == (False, "stopped")
        assert value(await room.commands.read(name, "LastError")) == ""
        assert await room.commands.write(name, "StartStreaming", {}) is None, "the profile's default: no options"


async def test_streaming_that_cannot_start_answers_with_the_true_error_and_changes_nothing(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile, tmp_path: Path
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(with_camera(pattern_device, Source=str(tmp_path / "none.mp4"), AutoStreaming=False))
        name = pattern_device.name
        with pytest.raises(DriverFailed, match="no such file"):
            await room.commands.write(name, "StartStreaming", {"StartStreaming": {"OutputFps": 1}})
        camera = room.cameras.get(name)
        assert not camera.is_streaming_wanted
        assert camera.settings.fps == 5.0
        with pytest.raises(Invalid, match="unknown option 'Speed'"):
            await room.commands.write(name, "StartStreaming", {"StartStreaming": {"Speed": 1}})
        with pytest.raises(DriverFailed, match="no such file"):
            await room.commands.read(name, "Snapshot")


async def test_settings_are_changed_together_by_a_command(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        body = {"FrameRateFps": 4, "FrameSize": "320x240", "JpegQuality": "70"}
        event = await room.commands.write(pattern_device.name, "FrameQuality", body)
        assert [reading.value for reading in event.readings] == ["4e+00", "320x240", "70"]
        settings = room.cameras.get(pattern_device.name).settings
        assert (settings.fps, settings.encoding.size, settings.encoding.quality) == (4.0, (320, 240), 70)
        with pytest.raises(Invalid, match="640x480"):
            await room.commands.write(pattern_device.name, "FrameSize", {"FrameSize": "big"})
        with pytest.raises(Invalid, match="null"):
            await room.commands.write(pattern_device.name, "FrameRateFps", {"FrameRateFps": None})


async def test_the_rate_is_measured(open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile) -> None:
    async with open_room() as room:
        room.devices.put_profile(camera_profile)
        room.devices.put(pattern_device)
        looking = asyncio.create_task(room.meters.run())
        try:
            begin = time.monotonic()
            camera = room.cameras.get(pattern_device.name)
            await until_soon(lambda: room.meters.capture_fps(camera) > 20, "50 pictures a second come")
            assert time.monotonic() - begin < 8
            assert float(value(await room.commands.read(pattern_device.name, "CaptureFps"))) > 20
            captured = room.service.metrics.counter("FramesCaptured", device=pattern_device.name)
            assert 0 < captured.value <= camera.counters.captured
            room.devices.remove(pattern_device.name)
            assert not [metric for metric in room.service.metrics if "device" in metric.tags]
        finally:
            looking.cancel()


async def test_an_unknown_function_is_the_profiles_fault_and_says_so(
    open_room: OpenRoom, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    (first, *_) = camera_profile.device_resources or ()
    broken = msgspec.structs.replace(first, attributes={"getFunction": "Levitate"})
    profile = msgspec.structs.replace(camera_profile, device_resources=(broken,), device_commands=())
    async with open_room() as room:
        room.devices.put_profile(profile)
        room.devices.put(pattern_device)
        with pytest.raises(DriverFailed, match="resource 'Frame': getFunction 'Levitate' is not known"):
            await room.commands.read(pattern_device.name, "Frame")
