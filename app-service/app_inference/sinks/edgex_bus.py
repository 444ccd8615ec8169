"""The EdgeX message bus as a sink, and the topics of results there: `Trigger.PublishTopic` with its placeholders.

The placeholders are those of EdgeX's application services (app-functions-sdk-go, "Publish Topic Placeholders").
"""

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

from edgex_kit.bus.bus import Bus
from edgex_kit.service.metrics import Counter
from edgex_kit.supervision import Causes
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed
from edgex_kit.wire.messages import Event
from edgex_kit.wire.topics import Topics

from app_inference.sinks.queue import Delivery
from app_inference.sinks.store import Message

log = logging.getLogger(__name__)

PLACEHOLDERS = ("servicekey", "profilename", "devicename", "sourcename", "pipelineid", "receivedtopic")
AT_LEAST_ONCE = 1  # MQTT quality of service
MAX_TOPIC = 65_535  # bytes, MQTT 3.1.1 1.5.3

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class _Refused:
    """A result that cannot be published; it is not tried again."""

    is_done = True


class EdgexBusSink:
    """Publishes with quality of service 1. The MQTT client sends again by itself what was not acknowledged.

    A result that can never be published (a topic or a size that the broker refuses) is counted in `dropped`.
    """

    def __init__(self, bus: Bus, dropped: Counter) -> None:
        self._bus = bus
        self._dropped = dropped
        self._causes = Causes()

    @property
    def is_connected(self) -> bool:
        return self._bus.is_connected

    @property
    def losses(self) -> int:
        return self._bus.losses

    def send(self, batch: Sequence[Message]) -> Sequence[Delivery]:
        taken: list[Delivery] = []
        for message in batch:
            try:
                sending = self._bus.publish(*message, qos=AT_LEAST_ONCE)
            except EdgexError as error:
                self._dropped.add()
                if self._causes.is_new(error):
                    log.warning("a result is lost: %s", error)
                taken.append(_Refused())
                continue
            if sending is None:
                break
            taken.append(sending)
        return taken


class Destination:
    """The topic of every result; its names are those of the result event, which core-data checks.

    Raises Invalid for a template that cannot be filled in.
    """

    def __init__(self, template: str, service: str, topics: Topics) -> None:
        check_template(template)
        self._template = template
        self._service = service
        self._topics = topics
        self._filled_in = lru_cache(1024)(self._fill_in)  # they are few, and each result needs one

    @property
    def pattern(self) -> str:
        """The topic filter that matches our own results."""
        filled = _filled(self._template, {**dict.fromkeys(PLACEHOLDERS, "+"), "servicekey": self._level(self._service)})
        return self._topics.below(filled)

    def topic(self, result: Event, received: str) -> str:
        """Where `result`, of a frame that came on the topic `received`, goes. Raises Malformed when there is no such
        topic, for a name of 60,000 characters."""
        return self._filled_in(result.profile_name, result.device_name, result.source_name, received)

    def _fill_in(self, profile: str, device: str, source: str, received: str) -> str:
        names = {
            "servicekey": self._level(self._service),
            "profilename": self._level(profile),
            "devicename": self._level(device),
            "sourcename": self._level(source),
            "pipelineid": self._level(source),
            "receivedtopic": received,
        }
        topic = self._topics.below(_filled(self._template, names))
        if len(topic.encode()) > MAX_TOPIC:
            raise Malformed(f"its names are too long for a topic: '{topic[:80]}…'")
        return topic

    def _level(self, name: str) -> str:
        """A name as EdgeX writes it; percent-encoded where it would break the topic; receivers decode."""
        is_plain = name.isprintable() and not set(name) & set("/+#%")
        return self._topics.name(name) if is_plain or self._topics.escape else quote(name, safe="")


def check_template(template: str) -> None:
    """Raise Invalid for an unknown placeholder, and for what cannot be published on."""
    unknown = [key for key in _PLACEHOLDER.findall(template) if key.lower() not in PLACEHOLDERS]
    if unknown:
        known = " ".join(f"{{{key}}}" for key in PLACEHOLDERS)
        raise Invalid(f"Trigger.PublishTopic '{template}': {{{unknown[0]}}} is none of {known}")
    if set(template) & set("+#"):
        raise Invalid(f"Trigger.PublishTopic '{template}' holds a wildcard")


def _filled(template: str, names: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: names[found[1].lower()], template)
