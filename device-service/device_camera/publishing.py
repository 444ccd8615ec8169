"""Events out to the bus: those of commands and auto events, and the stream of frames.

An event that cannot go out now is dropped and counted: a frame is worthless when it is late, and no queue may grow.
"""

import logging
import time

from edgex_kit import codec
from edgex_kit.bus import Sending
from edgex_kit.devices import Device, DeviceResource
from edgex_kit.errors import EdgexError, TooLarge
from edgex_kit.messages import AddEventRequest, Event, new_id
from edgex_kit.service import Service

from device_camera.capture import Camera
from device_camera.config import CameraService
from device_camera.devices import Devices
from device_camera.frame_events import event_from_frame, frame_resource
from device_camera.frames import Frame

log = logging.getLogger(__name__)

# Why a frame that the camera had handed over did not go out; the tally has the reasons of capture.
BROKER = "broker"  # there is none
SENDING = "sending"  # the one before it is still going out
LARGE = "large"  # over MaxEventSize
STALE = "stale"  # older than MaxFrameAge
REFUSED = "refused"  # the device's profile has no stream, or a picture is too big for a reading


class Outbox:
    """The way of every event of this service onto the bus."""

    def __init__(self, service: Service[CameraService]) -> None:
        self._service = service
        self._events = service.metrics.counter("EventsSent")
        self._readings = service.metrics.counter("ReadingsSent")

    def send(self, event: Event, correlation_id: str | None = None) -> bool:
        """Publish an event under events/device, where core-data stores it; False when it did not go out."""
        name = event.device_name
        topic = self._service.topics.event(self._service.name, event.profile_name, name, event.source_name)
        try:
            sent = self.publish(topic, event, correlation_id)
        except TooLarge as error:
            log.warning("event '%s' of device '%s' is lost: %s", event.source_name, name, error)
            return False
        if sent is None:
            log.warning("event '%s' of device '%s' is lost: there is no message broker", event.source_name, name)
        return sent is not None

    def publish(self, topic: str, event: Event, correlation_id: str | None = None) -> Sending | None:
        """Send it and count it; None without a broker. Raises TooLarge."""
        data = codec.encode(
            AddEventRequest(request_id=new_id(), event=event),
            correlation_id=correlation_id,
            encoding=self._service.encoding,
            limit_kb=self._service.settings.max_event_size,
        )
        sent = self._service.bus.publish(topic, data)
        if sent is not None:
            self._events.add()
            self._readings.add(len(event.readings))
        return sent


class FrameStream:
    """Takes the newest frame of a camera, again and again, and publishes it outside events/#."""

    def __init__(self, service: Service[CameraService], outbox: Outbox, devices: Devices) -> None:
        self._service = service
        self._outbox = outbox
        self._devices = devices

    async def run(self, camera: Camera) -> None:
        """Publish until cancelled; every frame that does not go out is counted with its reason."""
        sending: Sending | None = None
        while True:
            frame = await camera.frames.get()
            dropped = self._why_not(frame, sending)
            if not dropped:
                sending, dropped = self._send(frame, camera.name)
            if dropped:
                camera.count_withdrawn(dropped)

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
