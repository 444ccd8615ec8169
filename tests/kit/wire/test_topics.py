"""Topics: built and parsed by one room, with and without name escaping."""

import pytest
from edgex_kit.wire import topics
from edgex_kit.wire.errors import Malformed
from edgex_kit.wire.topics import CommandTopic, EventTopic, Topics, config_change, escape_name, matches
from hypothesis import given
from hypothesis import strategies as st

ESCAPING = Topics(escape=True)
NAMES = st.text(min_size=1)
# Raw names cannot hold what topics are made of, and `%41` is always read as an escape.
RAW_NAMES = st.text(st.characters(exclude_characters="/%+#", exclude_categories=["Cs"]), min_size=1)


@given(NAMES, NAMES, NAMES, NAMES)
def test_an_escaped_event_topic_gives_back_any_names(service: str, profile: str, device: str, source: str) -> None:
    names = EventTopic(service, profile, device, source)
    assert ESCAPING.parse_event(ESCAPING.event(service, profile, device, source)) == names
    assert ESCAPING.parse_event(ESCAPING.frame(service, profile, device, source)) == names


@given(RAW_NAMES, RAW_NAMES, RAW_NAMES, RAW_NAMES)
def test_a_raw_event_topic_gives_back_names_without_topic_characters(a: str, b: str, c: str, d: str) -> None:
    assert Topics().parse_event(Topics().event(a, b, c, d)) == EventTopic(a, b, c, d)
    assert Topics().parse_event(Topics().frame(a, b, c, d)) == EventTopic(a, b, c, d)


@given(NAMES, NAMES, NAMES, st.sampled_from(["get", "set"]))
def test_an_escaped_command_topic_gives_back_any_names(service: str, device: str, command: str, method: str) -> None:
    parsed = CommandTopic(device, command, method)
    assert ESCAPING.parse_command(ESCAPING.command_request(service, device, command, method)) == parsed


@given(NAMES, NAMES)
def test_a_system_event_reaches_its_owner_and_nobody_else(owner: str, profile: str) -> None:
    for topic in (
        ESCAPING.system_event("core-metadata", "device", "add", owner, profile),
        ESCAPING.system_event("core-metadata", "device", "add", owner),
    ):
        assert matches(ESCAPING.system_events(owner), topic)
        assert not matches(ESCAPING.system_events(owner + "2"), topic)


def test_names_are_escaped_as_go_escapes_them() -> None:
    # Seen on the wire of device-simple with EnableNameFieldEscape.
    topic = ESCAPING.event("device-simple", "Simple-Device", "a/b c+", "SwitchButton")
    assert topic == "edgex/events/device/device%2Dsimple/Simple%2DDevice/a%2Fb%20c%2B/SwitchButton"
    assert ESCAPING.command_requests("device-simple") == "edgex/device/command/request/device%2Dsimple/#"
    assert ESCAPING.validate_device("device-simple") == "edgex/device%2Dsimple/validate/device"
    assert ESCAPING.system_events("device-simple") == "edgex/system-events/core-metadata/+/+/device%2Dsimple/#"
    assert escape_name("$&=:@ü") == "$&=:@%C3%BC"


def test_escaped_names_are_understood_whichever_way_the_setting_is() -> None:
    assert Topics().parse_event("edgex/events/device/s/p/cam%2D1/src").device == "cam-1"


def test_topics_are_those_of_the_catalogue() -> None:
    topics = Topics()
    assert topics.event("cam", "p", "d", "s") == "edgex/events/device/cam/p/d/s"
    assert topics.frame("cam", "p", "d", "s") == "edgex/frames/cam/p/d/s"
    assert topics.command_request("cam", "d", "c", "get") == "edgex/device/command/request/cam/d/c/get"
    assert topics.response("cam", "id") == "edgex/response/cam/id"
    assert topics.device_changes() == "edgex/system-events/core-metadata/device/#"
    assert topics.deleted_profiles() == "edgex/system-events/core-metadata/deviceprofile/delete/#"
    assert topics.below("events/#") == "edgex/events/#"
    assert topics.below("$share/replicas/events/#") == "$share/replicas/edgex/events/#"
    assert config_change("edgex/v4/cam/Writable/LogLevel") == "edgex/configs/edgex/v4/cam/Writable/LogLevel"


def test_everything_is_below_another_prefix() -> None:
    topics = Topics("site/a")
    assert topics.parse_event("site/a/events/device/s/p/d/x") == EventTopic("s", "p", "d", "x")
    assert topics.below("/events/#/") == "site/a/events/#"


def test_the_method_of_a_command_may_be_in_any_case() -> None:
    assert Topics().parse_command("edgex/device/command/request/s/d/c/GET").method == "get"


@pytest.mark.parametrize("topic", ["other/events/device/s/p/d/x", "edgex/events/device/p/d/x", "edgex/frames/p/d", ""])
def test_a_topic_that_names_no_source_is_malformed(topic: str) -> None:
    with pytest.raises(Malformed, match=topic or "''"):
        Topics().parse_event(topic)


@pytest.mark.parametrize("topic", ["edgex/device/command/request/d", "edgex/core/command/request/get", "x"])
def test_a_topic_that_names_no_command_is_malformed(topic: str) -> None:
    with pytest.raises(Malformed):
        Topics().parse_command(topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "covered"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+/c", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("a/#", "b/a", False),
        ("a/b/c", "a/b", False),
        ("$share/apps/a/#", "a/b", True),
        ("$share/apps/a/#", "b/a", False),
    ],
)
def test_a_filter_covers_what_mqtt_says(pattern: str, topic: str, *, covered: bool) -> None:
    assert matches(pattern, topic) is covered


def test_long_names_are_read_and_not_kept() -> None:
    topics._parse_event.cache_clear()
    name = "x" * 5000
    assert Topics().parse_event(Topics().frame("s", "p", name, "f")).device == name
    assert topics._parse_event.cache_info().currsize == 0
