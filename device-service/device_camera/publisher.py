"""The stream of frames onto the bus.

A frame that cannot go out now is dropped and counted: it is worthless when it is late, and no queue may grow. All of it
happens on the camera's own thread, as nothing in it waits: a way through the event loop cost a quarter of the whole.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from edgex_kit.bus.bus import Sending
from edgex_kit.device.cache import Devices
from edgex_kit.device.events import Outbox
from edgex_kit.service.metrics import Gauge
from edgex_kit.service.service import Service
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceResource
from edgex_kit.wire.errors import EdgexError, TooLarge

from device_camera.capture.camera import Camera
from device_camera.config import CameraService
from device_camera.frame import Frame
from device_camera.frame_events import event_from_frame, frame_resource

log = logging.getLogger(__name__)

# Why a frame that the camera had handed over did not go out; the tally has the reasons of capture.
BROKER = "broker"  # there is none
SENDING = "sending"  # the one before it is still going out
LARGE = "large"  # over MaxEventSize
STALE = "stale"  # older than MaxFrameAge
REFUSED = "refused"  # the device's profile has no stream, or a picture is too big for a reading
BROKEN = "error"  # we failed, in a way nobody foresaw


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

    async def run(self, camera: Camera) -> None:
        """Publish until cancelled; every frame that does not go out is counted with its reason."""
        sending: Sending | None = None
        route: _Route | None = None

        def take(frame: Frame) -> None:
            nonlocal sending, route
            try:
                dropped = self._why_not(frame, sending)
                if not dropped:
                    route = self._route(camera.name, route)
                    sending, dropped = self._send(frame, route)
            except EdgexError:
                dropped = REFUSED
            except Exception:  # the source is not to blame, and the camera goes on with the next frame
                log.exception("publishing a frame of '%s' failed", camera.name)
                dropped = BROKEN
            if dropped:
                camera.count_withdrawn(dropped)

        with camera.frames.given_to(take):
            await asyncio.Event().wait()

    def _why_not(self, frame: Frame, sending: Sending | None) -> str:
        if not self._service.bus.is_connected:
            return BROKER
        if sending is not None and not sending.is_done:
            return SENDING
        most = self._service.settings.writable.camera.max_age_s
        age = (time.monotonic_ns() - frame.captured_mono_ns) / 1e9
        return STALE if most and age > most else ""

    def _send(self, frame: Frame, route: _Route) -> tuple[Sending | None, str]:
        """What goes out, or why nothing does."""
        try:
            sending = self._outbox.publish(route.topic, event_from_frame(frame, route.device, route.resource))
        except TooLarge:
            return None, LARGE
        except EdgexError:
            return None, REFUSED
        if sending is None:
            return None, BROKER
        route.connected.set(time.time_ns())
        return sending, ""

    def _route(self, name: str, known: _Route | None) -> _Route:
        """`known`, or a new one once device or profile are others. Raises EdgexError without a stream's resource."""
        device = self._devices.get(name)
        profile = self._devices.profile_of(device)
        if known and known.device is device and known.profile is profile:
            return known
        return self._new_route(device, profile)

    def _new_route(self, device: Device, profile: DeviceProfile) -> _Route:
        service, resource = self._service, frame_resource(profile)
        if resource is None:
            raise EdgexError(f"profile '{profile.name}' has no resource with getFunction Frame")
        topic = service.topics.frame(service.name, profile.name, device.name, resource.name)
        return _Route(device, profile, resource, topic, service.metrics.gauge("LastConnected", device=device.name))
