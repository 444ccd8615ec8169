"""Frames and events out to a real broker: what goes out, what is dropped, and that the sum is always right."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from device_camera.capture.camera import Camera
from device_camera.config import CameraDefaults, CameraService
from device_camera.frame import Frame
from device_camera.publisher import (
    BROKER,
    LARGE,
    REFUSED,
    STALE,
    FrameStream,
    event_from_frame,
    frame_resource,
    frame_tags,
)
from device_camera.settings import settings_from_device
from edgex_kit.bus.bus import Message
from edgex_kit.device.cache import Devices
from edgex_kit.device.events import Outbox
from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.messages import Event
from edgex_standin.address import Address

from tests.conformance.waiting import until_soon
from tests.device.parts import OpenParts, OpenService, with_camera

pytestmark = pytest.mark.integration


class Broker(Protocol):
    address: Address

    def start(self) -> None: ...
    def stop(self) -> None: ...


@asynccontextmanager
async def streaming(service: Service[CameraService], device: Device, profile: DeviceProfile) -> AsyncIterator[Camera]:
    """The device's camera, whose frames are published for the length of the block."""
    devices = Devices(service.name)
    devices.put_profile(profile)
    devices.put(device)
    settings = settings_from_device(device, CameraDefaults(), service.secrets.get)
    await service.bus.settle(5)
    with Camera(device.name, settings) as camera:
        task = asyncio.create_task(FrameStream(service, Outbox(service), devices).run(camera))
        camera.start_streaming()
        try:
            yield camera
        finally:
            camera.stop_streaming()
            task.cancel()
            await asyncio.wait([task])


async def all_of(messages: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    """What still comes, until nothing has come for half a second."""
    while True:
        try:
            async with asyncio.timeout(0.5):
                message = await anext(messages)
        except TimeoutError:
            return
        yield message.data


def assert_balanced(camera: Camera) -> None:
    """captured == published + dropped, but for the frame that is between the two."""
    counted = camera.counters
    assert counted.captured == counted.published + sum(counted.dropped.values())


@pytest.mark.fault(24)
async def test_every_published_frame_arrives_numbered_and_every_other_one_is_counted(
    open_camera_service: OpenService, broker: Address, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with open_camera_service(broker) as service:
        topic = service.topics.frame(service.name, "vision-camera", pattern_device.name, "Frame")
        async with (
            service.bus.messages(topic) as messages,
            streaming(service, pattern_device, camera_profile) as camera,
        ):
            await until_soon(lambda: camera.counters.published >= 30, "frames are published")
            camera.stop_streaming()
            await asyncio.sleep(0.3)
            counted = camera.counters
            arrived = [codec.event_of(codec.decode_envelope(data)) async for data in all_of(messages)]
        assert_balanced(camera)
        assert len(arrived) == counted.published
        tags = [event.tags or {} for event in arrived]
        assert len({tag["frameId"] for tag in tags}) == len(arrived)
        assert [tag["seq"] for tag in tags] == sorted(tag["seq"] for tag in tags)
        assert [tag["published"] for tag in tags] == list(range(1, len(arrived) + 1)), "so that gaps can be counted"
        assert service.metrics.counter("EventsSent").value == len(arrived)
        assert service.metrics.gauge("LastConnected", device=pattern_device.name).value


async def test_frames_are_dropped_while_there_is_no_broker_and_go_on_with_it(
    open_camera_service: OpenService, private_broker: Broker, pattern_device: Device, camera_profile: DeviceProfile
) -> None:
    async with (
        open_camera_service(private_broker.address) as service,
        streaming(service, pattern_device, camera_profile) as camera,
    ):
        await until_soon(lambda: camera.counters.published >= 5, "frames are published")
        await asyncio.to_thread(private_broker.stop)
        await until_soon(lambda: camera.counters.dropped.get(BROKER, 0) >= 5, "frames are dropped without a broker")
        published = camera.counters.published
        await asyncio.to_thread(private_broker.start)
        await until_soon(lambda: camera.counters.published >= published + 5, "frames are published again")
        assert_balanced(camera)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"MaxEventSize": 1}, LARGE),
        ({"Writable": {"Camera": {"MaxFrameAge": "1ns"}}}, STALE),
    ],
)
async def test_a_frame_that_may_not_go_out_is_dropped_for_a_reason(
    open_camera_service: OpenService,
    broker: Address,
    pattern_device: Device,
    camera_profile: DeviceProfile,
    sections: dict[str, Any],
    reason: str,
) -> None:
    async with (
        open_camera_service(broker, **sections) as service,
        streaming(service, pattern_device, camera_profile) as camera,
    ):
        await until_soon(lambda: camera.counters.dropped.get(reason, 0) >= 5, f"frames are dropped: {reason}")
        assert camera.counters.published <= 1
        assert_balanced(camera)


@pytest.mark.fault(23)
async def test_a_frame_over_the_limit_of_an_event_is_logged_with_both_sizes_once(
    open_camera_service: OpenService,
    broker: Address,
    pattern_device: Device,
    camera_profile: DeviceProfile,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        open_camera_service(broker, MaxEventSize=1) as service,
        streaming(service, pattern_device, camera_profile) as camera,
    ):
        await until_soon(lambda: camera.counters.dropped.get(LARGE, 0) >= 5, "frames are dropped")
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "publisher.py" in line]
    assert "640x480" in said
    assert "MaxEventSize" in said


async def test_a_profile_without_a_stream_publishes_nothing(
    open_camera_service: OpenService, broker: Address, pattern_device: Device
) -> None:
    profile = DeviceProfile(name="vision-camera")
    async with open_camera_service(broker) as service, streaming(service, pattern_device, profile) as camera:
        await until_soon(lambda: camera.counters.dropped.get(REFUSED, 0) >= 3, "frames are dropped")
        assert_balanced(camera)


async def test_an_event_that_is_not_sent_returns_false(
    open_camera_service: OpenService, private_broker: Broker, pattern_device: Device
) -> None:
    event = Event(
        api_version="v3",
        id="1",
        device_name=pattern_device.name,
        profile_name="p",
        source_name="s",
        origin=1,
        readings=(),
        tags={"long": "x" * 3000},
    )
    async with open_camera_service(private_broker.address, MaxEventSize=2) as service:
        assert await service.bus.settle(5)
        outbox = Outbox(service)
        assert not outbox.send(event), "it is over MaxEventSize"
        assert outbox.send(msgspec.structs.replace(event, tags=None))
        await asyncio.to_thread(private_broker.stop)
        await until_soon(lambda: not service.bus.is_connected, "the broker is away")
        assert not outbox.send(msgspec.structs.replace(event, tags=None))
        assert service.metrics.counter("EventsSent").value == 1


JPEG = b"\xff\xd8 a picture \xff\xd9"
FRAME = Frame(JPEG, 640, 480, 41, "frame-1", 1_795_332_391_463_325_606, 7)
DEVICE = Device(
    name="cam",
    admin_state="UNLOCKED",
    operating_state="UP",
    service_name="s",
    profile_name="p",
    protocols={},
    tags={"site": "lab", "seq": "of the device"},
)


def profile(function: str) -> DeviceProfile:
    properties = {"valueType": "Binary", "readWrite": "R", "mediaType": "image/jpeg"}
    resource = {"name": "Stream", "attributes": {"getFunction": function}, "properties": properties}
    return convert({"name": "p", "deviceResources": [resource]}, DeviceProfile)


def test_the_stream_is_the_resource_that_says_so_whatever_its_name() -> None:
    found = frame_resource(profile("Frame"))
    assert found is not None
    assert found.name == "Stream"
    assert frame_resource(profile("Snapshot")) is None


def test_a_frame_carries_what_follows_it_through_every_service() -> None:
    resource = frame_resource(profile("Frame"))
    assert resource is not None
    event = event_from_frame(FRAME, DEVICE, resource)
    assert (event.device_name, event.profile_name, event.source_name) == ("cam", "p", "Stream")
    assert event.tags == {
        "site": "lab",
        "frameId": "frame-1",
        "seq": 41,
        "captureOrigin": "1795332391463325606",
        "width": 640,
        "height": 480,
    }
    (reading,) = event.readings
    assert reading.binary_value is JPEG, "the picture is not copied"
    assert (reading.origin, reading.media_type) == (1_795_332_391_463_325_606, "image/jpeg")
    assert event_from_frame(FRAME, DEVICE, resource).origin > event.origin


def test_a_frame_says_of_a_camera_that_follows_how_large_it_could_be() -> None:
    assert "fullSize" not in frame_tags(FRAME)
    assert frame_tags(dataclasses.replace(FRAME, full_size=(1280, 720)))["fullSize"] == "1280x720"


@pytest.mark.fault(26)
@pytest.mark.parametrize("is_enabled", [True, False])
async def test_a_lost_camera_publishes_the_cause_though_its_device_is_down(
    open_parts: OpenParts, tmp_path: Path, *, is_enabled: bool
) -> None:
    sections = {"Device": {"EnableAsyncReadings": is_enabled}}
    async with open_parts(sections, Source=str(tmp_path / "none"), AutoStreaming=False) as parts:
        topic = parts.service.topics.event(parts.service.name, "vision-camera", parts.name, "StreamingStatus")
        async with parts.service.bus.messages(topic) as messages:
            assert await parts.service.bus.settle(5)
            sending = asyncio.create_task(parts.state_events.run(parts.commands))
            parts.devices.put(
                msgspec.structs.replace(
                    with_camera(parts.device, Source=str(tmp_path / "none")), operating_state="DOWN"
                )
            )
            try:
                async with asyncio.timeout(5 if is_enabled else 0.7):
                    state: Any = {}
                    while state.get("State") != "lost":
                        envelope = codec.decode_envelope((await anext(messages)).data)
                        state = codec.event_of(envelope).readings[0].object_value
                assert is_enabled
                assert "no such file" in state["Error"]
                assert envelope.correlation_id == ""
            except TimeoutError:
                assert not is_enabled
            finally:
                sending.cancel()
