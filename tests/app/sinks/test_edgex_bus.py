"""Results go where Trigger.PublishTopic says, and core-data can read the names in the topic."""

import pytest
from app_inference.settings import TriggerSection
from app_inference.sinks.edgex_bus import MAX_TOPIC, Destination
from edgex_kit.wire.errors import Invalid, Malformed
from edgex_kit.wire.messages import Event, new_id
from edgex_kit.wire.topics import EventTopic, Topics, matches
from hypothesis import given
from hypothesis import strategies as st

TEMPLATE = TriggerSection().publish_topic
RECEIVED = "edgex/frames/device-camera/vision-camera/gate/Frame"


def result(device: str = "gate", profile: str = "detection", source: str = "lamps") -> Event:
    names = {"device_name": device, "profile_name": profile, "source_name": source}
    return Event(api_version="v3", id=new_id(), **names, origin=1, readings=())


def test_results_go_where_core_data_stores_them() -> None:
    destination = Destination(TEMPLATE, "app-inference", Topics())
    assert destination.topic(result(), RECEIVED) == "edgex/events/device/app-inference/detection/gate/lamps"


@given(st.text(min_size=1), st.text(min_size=1), st.booleans())
def test_whoever_reads_the_topic_finds_the_names_of_the_event(device: str, source: str, escape: bool) -> None:
    topics = Topics(escape=escape)
    destination = Destination(TEMPLATE, "app-inference", topics)
    topic = destination.topic(result(device, source=source), RECEIVED)
    assert topics.parse_event(topic) == EventTopic("app-inference", "detection", device, source)
    assert not set(topic) & set("+#\0")
    assert topic.isprintable()
    assert topic.count("/") == 6


@given(st.text(min_size=1))
def test_its_pattern_covers_every_result_and_no_frame(device: str) -> None:
    destination = Destination(TEMPLATE, "app-inference", Topics())
    assert matches(destination.pattern, destination.topic(result(device), RECEIVED))
    assert not matches(destination.pattern, Topics().event("device-camera", "vision-camera", "gate", "Snapshot"))


@pytest.mark.parametrize(
    ("template", "topic"),
    [
        ("results/{devicename}", "edgex/results/gate"),
        ("results/{DeviceName}/{PipelineId}/{servicekey}", "edgex/results/gate/lamps/app"),
        ("about/{receivedtopic}", f"edgex/about/{RECEIVED}"),
        ("plain", "edgex/plain"),
    ],
)
def test_every_placeholder_is_filled_in(template: str, topic: str) -> None:
    assert Destination(template, "app", Topics()).topic(result(), RECEIVED) == topic


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("results/{camera}", r"Trigger.PublishTopic 'results/\{camera\}': \{camera\} is none of \{servicekey\}"),
        ("results/{}", "is none of"),
        ("results/#", "holds a wildcard"),
        ("results/+/x", "holds a wildcard"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(template: str, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        Destination(template, "app", Topics())


def test_names_too_long_for_a_topic_are_malformed() -> None:
    destination = Destination(TEMPLATE, "app-inference", Topics())
    with pytest.raises(Malformed, match="too long"):
        destination.topic(result("x" * MAX_TOPIC), RECEIVED)
