"""Frames and states of cameras as EdgeX events on the message bus.

A frame that cannot go out now is dropped and counted: it is worthless when it is late, and no queue may grow.
Publishing runs on the camera's own thread, as nothing in it waits: going through the event loop cost a quarter more.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from edgex_kit.bus.bus import Sending
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.service.clock import new_origin
from edgex_kit.service.metrics import Gauge
from edgex_kit.service.service import Service
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceResource
from edgex_kit.wire.errors import EdgexError, TooLarge
from edgex_kit.wire.messages import Event
from edgex_kit.wire.readings import event_from_readings, reading_from

from device_camera.capture.camera import Camera
from device_camera.capture.state import Status
from device_camera.config import CameraService
from device_camera.frame import Frame

log = logging.getLogger(__name__)

WARN_EVERY = 60.0  # seconds between two warnings about one camera
_FRAME = "Frame"  # the getFunction of the resource whose readings are the stream
_STATUS = "StreamingStatus"  # the resource whose readings are published at each change of state

# Why a frame that the camera passed on was not published; capture.counters has the reasons before that.
BROKER = "broker"  # there is none
SENDING = "sending"  # the one before it is still going out
LARGE = "large"  # over MaxEventSize
STALE = "stale"  # older than MaxFrameAge
REFUSED = "refused"  # the device's profile has no stream, or a picture is too big for a reading
BROKEN = "error"  # an unexpected fault of this service


def frame_resource(profile: DeviceProfile) -> DeviceResource | None:
    """The resource that the stream's events are named after; None for a profile without a stream."""
    for resource in profile.device_resources or ():
        if (resource.attributes or {}).get("getFunction") == _FRAME:
            return resource
    return None


def frame_tags(frame: Frame, published: int = 0) -> dict[str, Any]:
    """Tags that identify a frame in every service; `captureOrigin` (ns) is text, since Go reads numbers as float64.

    `fullSize` says that the camera's size follows the requests of subscribers: see the resource PictureNeeds.
    `published` numbers the frames of the stream from 1 without gaps, so that a subscriber can count those it missed.
    """
    tags = {
        "frameId": frame.frame_id,
        "seq": frame.seq,
        "captureOrigin": str(frame.captured_ns),
        "width": frame.width,
        "height": frame.height,
    }
    if published:
        tags["published"] = published
    if frame.full_size:
        tags["fullSize"] = "{}x{}".format(*frame.full_size)
    return tags


def event_from_frame(frame: Frame, device: Device, resource: DeviceResource, published: int = 0) -> Event:
    """The event of one frame, the `published`-th of its camera; the reading's origin is the capture, its own is now."""
    reading = reading_from(
        frame.jpeg, resource, device.name, device.profile_name, frame.captured_ns, with_units=False, transform=False
    )
    return event_from_readings(
        [reading],
        device_name=device.name,
        profile_name=device.profile_name,
        source_name=resource.name,
        origin=new_origin(),
        device_tags=device.tags,
        tags=frame_tags(frame, published),
    )


@dataclass(frozen=True, slots=True)
class _Route:
    """What every frame of a camera needs, for as long as its device and profile are these."""

    device: Device
    profile: DeviceProfile
    resource: DeviceResource
    topic: str
    connected: Gauge


class FrameStream:
    """Publishes every frame of a camera outside events/#."""

    def __init__(self, service: Service[CameraService], outbox: Outbox, devices: Devices) -> None:
        self._service = service
        self._outbox = outbox
        self._devices = devices
        self._warned: dict[str, float] = {}  # when a camera's frame was over MaxEventSize, monotonic seconds

    async def run(self, camera: Camera) -> None:
        """Publish until cancelled; every frame that is not published is counted with its reason."""
        sending: Sending | None = None
        route: _Route | None = None

        def publish(frame: Frame) -> None:
            nonlocal sending, route
            try:
                dropped = self._why_not(frame, sending)
                if not dropped:
                    route = self._route(camera.name, route)
                    event = event_from_frame(frame, route.device, route.resource, camera.published + 1)
                    sending = self._outbox.publish(route.topic, event)
                    if sending is None:
                        dropped = BROKER
                    else:
                        camera.published += 1
                        route.connected.set(time.time_ns())
            except TooLarge as error:
                dropped = LARGE
                self._warn(camera.name, frame, error)
            except EdgexError:
                dropped = REFUSED
            except Exception:  # the source is not to blame, and the camera goes on with the next frame
                log.exception("publishing a frame of '%s' failed", camera.name)
                dropped = BROKEN
            if dropped:
                camera.count_withdrawn(dropped)

        with camera.frames.given_to(publish):
            await asyncio.Event().wait()

    def _warn(self, name: str, frame: Frame, error: TooLarge) -> None:
        """Once a minute: the counters have every frame."""
        now = time.monotonic()
        if now - self._warned.get(name, -WARN_EVERY) >= WARN_EVERY:
            self._warned[name] = now
            size = f"{frame.width}x{frame.height}, {len(frame.jpeg) >> 10} KB"
            log.warning("frames of '%s' (%s) are not published (MaxEventSize): %s", name, size, error)

    def _why_not(self, frame: Frame, sending: Sending | None) -> str:
        if not self._service.bus.is_connected:
            return BROKER
        if sending is not None and not sending.is_done:
            return SENDING
        most = self._service.settings.writable.camera.max_age_s
        age = (time.monotonic_ns() - frame.captured_mono_ns) / 1e9
        return STALE if most and age > most else ""

    def _route(self, name: str, known: _Route | None) -> _Route:
        """`known`, or a new one after a change of device or profile. Raises EdgexError without a stream's resource."""
        device = self._devices.get(name)
        profile = self._devices.profile_of(device)
        if known and known.device is device and known.profile is profile:
            return known
        service, resource = self._service, frame_resource(profile)
        if resource is None:
            raise EdgexError(f"profile '{profile.name}' has no resource with getFunction Frame")
        topic = service.topics.frame(service.name, profile.name, device.name, resource.name)
        return _Route(device, profile, resource, topic, service.metrics.gauge("LastConnected", device=device.name))


class StatusEvents:
    """Publishes the newest state of each camera that has changed, with the reason when frames stop coming.

    EdgeX refuses commands to a device that is DOWN, so these events are how others learn why.
    """

    def __init__(self, service: Service[CameraService], outbox: Outbox) -> None:
        self._service = service
        self._outbox = outbox
        self._changed: dict[str, None] = {}  # in the order of change
        self._woken = asyncio.Event()

    def follow(self, name: str, _status: Status) -> None:
        """A camera's state has changed."""
        self._changed[name] = None
        self._woken.set()

    async def run(self, commands: Commands) -> None:
        """Publish for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._changed:
                name = next(iter(self._changed))
                del self._changed[name]
                if self._service.settings.device.enable_async_readings:
                    await self._send(commands, name)

    async def _send(self, commands: Commands, name: str) -> None:
        try:
            event = await commands.report(name, _STATUS)
        except EdgexError as error:  # the device has just gone, or has no profile
            log.debug("no state event of '%s': %s", name, error)
            return
        if event is not None:
            self._outbox.send(event, "")
