"""Publishes events on the bus, where core-data stores them. One that cannot be sent now is dropped and logged."""

import logging

from edgex_kit.bus.bus import Sending
from edgex_kit.device.driver import Host
from edgex_kit.wire import codec
from edgex_kit.wire.errors import TooLarge
from edgex_kit.wire.messages import AddEventRequest, Event, new_id

log = logging.getLogger(__name__)


class Outbox:
    """Publishes every event of this service and counts it."""

    def __init__(self, service: Host) -> None:
        self._service = service
        self._events = service.metrics.counter("EventsSent")
        self._readings = service.metrics.counter("ReadingsSent")

    def send(self, event: Event, correlation_id: str | None = None) -> bool:
        """Publish an event under events/device, where core-data stores it; False when it could not be sent."""
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
        """Publish and count; None without a broker. Raises TooLarge over MaxEventSize."""
        parts = codec.encode_parts(
            AddEventRequest(request_id=new_id(), event=event),
            correlation_id=correlation_id,
            encoding=self._service.encoding,
            limit_kb=self._service.settings.max_event_size,
        )
        sent = self._service.bus.publish(topic, *parts)
        if sent is not None:
            self._events.add()
            self._readings.add(len(event.readings))
        return sent
