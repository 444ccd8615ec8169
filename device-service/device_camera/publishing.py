"""The stream of frames onto the bus.

A frame that cannot go out now is dropped and counted: it is worthless when it is late, and no queue may grow. All of it
happens on the camera's own thread, as nothing in it waits: a way through the event loop cost a quarter of the whole.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from edgex_kit.bus import Sending
from edgex_kit.device.cache import Devices
from edgex_kit.device.outbox import Outbox
from edgex_kit.devices import Device, DeviceProfile, DeviceResource
from edgex_kit.errors import EdgexError, TooLarge
from edgex_kit.metrics import Gauge
from edgex_kit.service import Service

from device_camera.capture import Camera
from device_camera.config import CameraService
from device_camera.frame_events import event_from_frame, frame_resource
from device_camera.frames import Frame

log = logging.getLogger(__name__)

# Why a frame that the camera had handed over did not go out; the tally has the reasons of capture.
BROKER = "broker"  # there is none
SENDING = "sending"  # the one before it is still going out
LARGE = "large"  # over MaxEventSize
STALE = "stale"  # older than MaxFrameAge
REFUSED = "refused"  # the device's profile has no stream, or a picture is too big for a reading
BROKEN = "error"  # we failed, in a way nobody foresaw


@dataclass(frozen=True, slots=True)
class _Way:
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
        self._ways: dict[str, _Way] = {}

    async def run(self, camera: Camera) -> None:
        """Publish until cancelled; every frame that does not go out is counted with its reason."""
        sending: Sending | None = None

        def take(frame: Frame) -> None:
            nonlocal sending
            try:
                dropped = self._why_not(frame, sending)
                if not dropped:
                    sending, dropped = self._send(frame, camera.name)
            except Exception:  # the source is not to blame, and the camera goes on with the next frame
                log.exception("publishing a frame of '%s' failed", camera.name)
                dropped = BROKEN
            if dropped:
                camera.count_withdrawn(dropped)

        try:
            with camera.frames.given_to(take):
                await asyncio.Event().wait()
        finally:
            self._ways.pop(camera.name, None)

    def _why_not(self, frame: Frame, sending: Sending | None) -> str:
        if not self._service.bus.is_connected:
            return BROKER
        if sending is not None and not sending.is_done:
            return SENDING
        most = self._service.settings.writable.camera.max_age_s
        age = (time.monotonic_ns() - frame.captured_mono_ns) / 1e9
        return STALE if most and age > most else ""

    def _send(self, frame: Frame, name: str) -> tuple[Sending | None, str]:
        """What goes out, or why nothing does."""
        try:
            way = self._way(name)
            sending = self._outbox.publish(way.topic, event_from_frame(frame, way.device, way.resource))
        except TooLarge:
            return None, LARGE
        except EdgexError:
            return None, REFUSED
        if sending is None:
            return None, BROKER
        way.connected.set(time.time_ns())
        return sending, ""

    def _way(self, name: str) -> _Way:
        """Looked up and put together once, not for each frame. Raises EdgexError without a resource for the stream."""
        device = self._devices.get(name)
        profile, way = self._devices.profile_of(device), self._ways.get(name)
        if way is None or way.device is not device or way.profile is not profile:
            way = self._ways[name] = self._new_way(device, profile)
        return way

    def _new_way(self, device: Device, profile: DeviceProfile) -> _Way:
        service, resource = self._service, frame_resource(profile)
        if resource is None:
            raise EdgexError(f"profile '{profile.name}' has no resource with getFunction Frame")
        topic = service.topics.frame(service.name, profile.name, device.name, resource.name)
        return _Way(device, profile, resource, topic, service.metrics.gauge("LastConnected", device=device.name))
