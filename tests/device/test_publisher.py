"""Frames and events out to a real broker: what goes out, what is dropped, and that the sum is always right."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import msgspec
import pytest
from device_camera.capture.camera import Camera
from device_camera.config import CameraDefaults, CameraService
from device_camera.protocols import asked_of
from device_camera.publisher import BROKER, LARGE, REFUSED, STALE, FrameStream
from edgex_kit.bus.bus import Message
from edgex_kit.device.cache import Devices
from edgex_kit.device.events import Outbox
from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.messages import Event
from edgex_standin.address import Address

from tests.conformance.waiting import until_soon

OpenService = Callable[..., AbstractAsyncContextManager[Service[CameraService]]]


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
    settings = asked_of(device, CameraDefaults(), service.secrets.get).settings
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


async def test_every_published_frame_arrives_and_every_other_one_is_counted(
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
        await until_soon(lambda: camera.counters.dropped.get(BROKER, 0) >= 5, "frames are dropped for want of a broker")
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


async def test_a_profile_without_a_stream_publishes_nothing(
    open_camera_service: OpenService, broker: Address, pattern_device: Device
) -> None:
    profile = DeviceProfile(name="vision-camera")
    async with open_camera_service(broker) as service, streaming(service, pattern_device, profile) as camera:
        await until_soon(lambda: camera.counters.dropped.get(REFUSED, 0) >= 3, "frames are dropped")
        assert_balanced(camera)


async def test_an_event_that_is_lost_is_told(
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
