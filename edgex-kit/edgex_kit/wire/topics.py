"""Every topic, built and parsed; docs/reference/topics.md lists them with their readers.

`Topics(base, escape)` carries the two settings all services of a gateway must share: MessageBus.BaseTopicPrefix and
Service.EnableNameFieldEscape.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from edgex_kit.wire.errors import Invalid, Malformed

_LONGEST_KEPT = 1024  # characters; any client may send longer topics, which would fill the memory


def escape_name(name: str) -> str:
    """Go's URLEncode: PathEscape, and then `+ - . _ ~` too (go-mod-core-contracts common/utils.go)."""
    escaped = quote(name, safe="$&=:@")
    for char in "-._~":
        escaped = escaped.replace(char, f"%{ord(char):02X}")
    return escaped


@dataclass(frozen=True, slots=True)
class EventTopic:
    """Where an event was published, names decoded."""

    service: str
    profile: str
    device: str
    source: str


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """A command request on the bus, names decoded; `method` is "get" or "set", or what was sent instead."""

    device: str
    command: str
    method: str


@dataclass(frozen=True, slots=True)
class Topics:
    """Builds and parses every topic under one prefix."""

    base: str = "edgex"
    escape: bool = False

    def check_name(self, what: str, name: str) -> None:
        """Raise Invalid for a name that other services could not read out of a topic, or the broker would refuse.

        EdgeX decodes every level of a topic, whether names are escaped or not.
        """
        if not name.isprintable():
            raise Invalid(f"{what} {name[:80]!r} has characters that cannot be printed; no topic can hold them")
        if not self.escape and (set(name) & set("/+#") or unquote(name) != name):
            raise Invalid(
                f"{what} '{name[:80]}' has characters that a topic cannot hold (/ + # or an escape such as %2F); "
                f"rename it, or set Service.EnableNameFieldEscape for all services"
            )

    def name(self, name: str) -> str:
        """One level of a topic that holds a name."""
        return escape_name(name) if self.escape else name

    def join(self, *levels: str) -> str:
        """A topic below the prefix from levels that hold no names."""
        return "/".join((self.base, *levels))

    def below(self, topic: str) -> str:
        """A configured topic or filter, which EdgeX writes without the prefix; `$share/<group>/` stays in front."""
        group, pattern = split_shared(topic.strip())
        return shared(group, f"{self.base}/{pattern.strip('/')}")

    # -- events and frames

    def event(self, service: str, profile: str, device: str, source: str) -> str:
        """Stored by core-data: its last four levels name service, profile, device and source."""
        return self.join("events", "device", *map(self.name, (service, profile, device, source)))

    def frame(self, service: str, profile: str, device: str, source: str) -> str:
        """Outside events/#, so that core-data does not store a camera's every frame."""
        return self.join("frames", *map(self.name, (service, profile, device, source)))

    def parse_event(self, topic: str) -> EventTopic:
        """Names of an event or frame topic: its last four levels, as core-data reads them. Raises Malformed."""
        parse = _parse_event if len(topic) <= _LONGEST_KEPT else _parse_event.__wrapped__
        return parse(self, topic)

    # -- commands

    def command_request(self, service: str, device: str, command: str, method: str) -> str:
        return self.join("device", "command", "request", *map(self.name, (service, device, command)), method)

    def command_requests(self, service: str) -> str:
        """Filter of all command requests to `service`."""
        return self.join("device", "command", "request", self.name(service), "#")

    def core_command_request(self, device: str, command: str, method: str) -> str:
        """A request to core-command, which knows the device's service and passes it on."""
        return self.join("core", "command", "request", *map(self.name, (device, command)), method)

    def parse_command(self, topic: str) -> CommandTopic:
        """Device, command and method: the last three levels. Raises Malformed."""
        levels = self.levels(topic)
        if len(levels) < 6:
            raise Malformed(f"topic '{topic}' does not end in device/command/method")
        return CommandTopic(unquote(levels[-3]), unquote(levels[-2]), levels[-1].lower())

    def response(self, service: str, request_id: str) -> str:
        return self.join("response", self.name(service), request_id)

    # -- life cycle

    def validate_device(self, service: str) -> str:
        return self.join(self.name(service), "validate", "device")

    def system_event(self, source: str, kind: str, action: str, owner: str, profile: str = "") -> str:
        tail = (self.name(profile),) if profile else ()
        return self.join("system-events", source, kind, action, self.name(owner), *tail)

    def system_events(self, owner: str, kind: str = "+", action: str = "+") -> str:
        """Filter of core-metadata's system events for `owner`."""
        return self.join("system-events", "core-metadata", kind, action, self.name(owner), "#")

    def deleted_profiles(self) -> str:
        """Filter of deletions of profiles of any service."""
        return self.join("system-events", "core-metadata", "deviceprofile", "delete", "#")

    def device_changes(self) -> str:
        """Filter of additions, changes and deletions of devices of any service."""
        return self.join("system-events", "core-metadata", "device", "#")

    def telemetry(self, service: str, metric: str) -> str:
        """Never escaped, as EdgeX's own services publish it."""
        return self.join("telemetry", service, metric)

    def levels(self, topic: str) -> list[str]:
        """Those below the prefix, as they were sent. Raises Malformed for a topic elsewhere."""
        prefix = self.base + "/"
        if not topic.startswith(prefix):
            raise Malformed(f"topic '{topic}' is not below '{self.base}/'")
        return topic[len(prefix) :].split("/")


@lru_cache(1000)  # all frames of a camera have one topic
def _parse_event(topics: Topics, topic: str) -> EventTopic:
    levels = topics.levels(topic)
    if len(levels) < (6 if levels[0] == "events" else 5):
        raise Malformed(f"topic '{topic}' does not end in service/profile/device/source")
    return EventTopic(*map(unquote, levels[-4:]))


CONFIG_PREFIX = "edgex/configs"  # hard-coded in Go's clients whatever the base prefix is


def config_change(key: str) -> str:
    """Where core-keeper announces a change of `key`; the key keeps its slashes."""
    return f"{CONFIG_PREFIX}/{key}"


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT filter covers `topic`; `#` also covers its parent level (MQTT 3.1.1, 4.7.1.2).

    A shared subscription, `$share/<group>/<filter>`, covers what its filter covers.
    """
    wanted, got = split_shared(pattern)[1].split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(got) or level not in ("+", got[index]):
            return False
    return len(wanted) == len(got)


def shared(group: str, pattern: str) -> str:
    """The filter by which the subscribers of `group` share the messages of `pattern`; `pattern` without a group."""
    return f"$share/{group}/{pattern}" if group else pattern


def split_shared(pattern: str) -> tuple[str, str]:
    """Group and filter of a shared subscription; of any other the empty group and the filter itself."""
    if not pattern.startswith("$share/"):
        return "", pattern
    _, group, *rest = pattern.split("/", 2)
    return group, "".join(rest)
