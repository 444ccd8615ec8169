"""The stream of frames onto the bus.

A frame that cannot go out now is dropped and counted: it is worthless when it is late, and no queue may grow. All of it
happens on the camera's own thread, as nothing in it waits: a way through the event loop cost a quarter of the whole.
"""

import asyncio
import logging
import time

from edgex_kit.bus import Sending
from edgex_kit.device.cache import Devices
from edgex_kit.device.outbox import Outbox
from edgex_kit.devices import Device, DeviceResource
from edgex_kit.errors import EdgexError, TooLarge
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


class FrameStream:
    """Publishes every frame of a camera outside events/#."""

    def __init__(self, service: Service[CameraService], outbox: Outbox, devices: Devices) -> None:
        self._service = service
        self._outbox = outbox
        self._devices = devices

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

    def _send(self, frame: Frame, name: str) -> tuple[Sending | None, str]:
        """What goes out, or why nothing does."""
        try:
            device, resource = self._named(name)
            topic = self._service.topics.frame(self._service.name, device.profile_name, name, resource.name)
            sending = self._outbox.publish(topic, event_from_frame(frame, device, resource))
        except TooLarge:
            return None, LARGE
        except EdgexError:
            return None, REFUSED
        if sending is None:
            return None, BROKER
        self._service.metrics.gauge("LastConnected", device=name).set(time.time_ns())
        return sending, ""

    def _named(self, name: str) -> tuple[Device, DeviceResource]:
        device = self._devices.get(name)
        resource = frame_resource(profile := self._devices.profile_of(device))
        if resource is None:
            raise EdgexError(f"profile '{profile.name}' has no resource with getFunction Frame")
        return device, resource
