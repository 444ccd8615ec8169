"""Where results are published: `Trigger.PublishTopic` with its placeholders filled in (contract 7.3). Pure."""

import re
from functools import lru_cache
from urllib.parse import quote

from edgex_kit.wire.errors import Invalid, Malformed
from edgex_kit.wire.messages import Event
from edgex_kit.wire.topics import Topics

PLACEHOLDERS = ("servicekey", "profilename", "devicename", "sourcename", "pipelineid", "receivedtopic")
MAX_TOPIC = 65_535  # bytes, MQTT 3.1.1 1.5.3

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Destination:
    """The topic of every result; its names are those of the result event, as core-data asks (contract 1.8).

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
        """A filter of the topics our own results come on, were we to subscribe to them."""
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
        """A name as EdgeX writes it; percent-encoded where it would break the topic, for everybody decodes (1.6)."""
        is_plain = name.isprintable() and not set(name) & set("/+#%")
        return self._topics.name(name) if is_plain or self._topics.escape else quote(name, safe="")


def check_template(template: str) -> None:
    """Raise Invalid for a placeholder nobody knows, and for what cannot be published on."""
    unknown = [key for key in _PLACEHOLDER.findall(template) if key.lower() not in PLACEHOLDERS]
    if unknown:
        known = " ".join(f"{{{key}}}" for key in PLACEHOLDERS)
        raise Invalid(f"Trigger.PublishTopic '{template}': {{{unknown[0]}}} is none of {known}")
    if set(template) & set("+#"):
        raise Invalid(f"Trigger.PublishTopic '{template}' holds a wildcard")


def _filled(template: str, names: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: names[found[1].lower()], template)
