"""Settings are checked once, and a wrong one is named by its key."""

from typing import Any

import msgspec
import pytest
import yaml
from app_inference.settings import AppSettings, PipelineSection, TriggerSection
from edgex_kit.config import layers as config
from edgex_kit.wire.errors import Invalid


def settings(**sections: Any) -> AppSettings:
    return msgspec.convert(sections, AppSettings, strict=False)


def pipeline(**keys: Any) -> dict[str, Any]:
    return {"Writable": {"Pipelines": {"gate": {"Model": "meter", **keys}}}}


def packaged() -> dict[str, Any]:
    from importlib.resources import files

    text = files("app_inference").joinpath("res/configuration.yaml").read_text(encoding="utf-8")
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree


def test_the_packaged_configuration_is_sound_and_says_what_the_defaults_say() -> None:
    shipped = config.check(AppSettings, ("file", packaged()))
    shipped.check()
    assert shipped.trigger == AppSettings().trigger
    assert shipped.inference == AppSettings().inference
    assert shipped.writable.pipelines["default"] == PipelineSection(model="pedestrian-ssdlite")


def test_every_setting_of_ours_can_be_overridden_from_the_environment() -> None:
    tree = packaged()
    for section, known in (("Trigger", TriggerSection), ("Inference", type(AppSettings().inference))):
        assert set(tree[section]) == {field.encode_name for field in msgspec.structs.fields(known)}


def test_text_from_core_keeper_is_read_as_what_it_means() -> None:
    section = settings(**pipeline(Rate="2.5", Threshold="0.25", Enabled="false", PublishEmpty="false"))
    gate = section.writable.pipelines["gate"]
    assert (gate.rate, gate.threshold, gate.enabled, gate.publish_empty) == (2.5, 0.25, False, False)


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        (pipeline(Model=" "), "Writable.Pipelines.gate.Model is empty"),
        (pipeline(Threshold=1.5), "Writable.Pipelines.gate.Threshold 1.5 is not within 0..1"),
        (pipeline(Threshold="nan"), "Writable.Pipelines.gate.Threshold nan"),
        (pipeline(Rate=-1), "Writable.Pipelines.gate.Rate -1"),
        (pipeline(Rate="nan"), "Writable.Pipelines.gate.Rate nan"),
        (pipeline(Zones={"yard": "0,0,1"}), "Writable.Pipelines.gate.Zones: zone 'yard'"),
    ],
)
def test_a_wrong_pipeline_is_refused_alone_and_stays_as_it_was(sections: dict[str, Any], complaint: str) -> None:
    found = settings(Writable={"Pipelines": {**sections["Writable"]["Pipelines"], "yard": {"Model": "m"}}})
    found.check()
    accepted, refused = found.writable.accepted({})
    assert set(accepted) == {"yard"}
    assert refused["gate"].startswith(complaint)
    before = {"gate": PipelineSection(model="old")}
    assert found.writable.accepted(before)[0] == {**accepted, **before}


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        (
            {"Trigger": {"Type": "external-mqtt"}},
            "Trigger.Type 'external-mqtt' is not known here; use edgex-messagebus",
        ),
        ({"Trigger": {"SubscribeTopics": " , "}}, "Trigger.SubscribeTopics is empty"),
        ({"Trigger": {"PublishTopic": "a/{b}"}}, "Trigger.PublishTopic 'a/{b}'"),
        ({"Inference": {"Workers": -1}}, "Inference.Workers -1 is negative"),
        ({"Inference": {"KeepVersions": -1}}, "Inference.KeepVersions -1 is negative; 0 keeps all"),
        ({"Inference": {"ScrubInterval": "daily"}}, "Inference.ScrubInterval: 'daily' is no duration"),
        ({"Inference": {"OutboxSize": 0}}, "Inference.OutboxSize 0 holds no result"),
        ({"Inference": {"StuckAfter": "soon"}}, "Inference.StuckAfter: 'soon' is no duration"),
        ({"Inference": {"MaxFrameAge": "2"}}, "Inference.MaxFrameAge: '2' is no duration"),
    ],
)
def test_what_cannot_be_is_named_by_its_key(sections: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Invalid, match="^" + complaint.translate({ord(c): f"\\{c}" for c in "{}.'()"})):
        settings(**sections).check()


def test_a_pipeline_that_is_off_needs_no_model() -> None:
    settings(**pipeline(Model="", Enabled=False)).check()


@pytest.mark.parametrize(
    ("cameras", "names"),
    [("*", None), ("gate, *", None), ("gate", {"gate"}), (" gate ,yard,", {"gate", "yard"}), ("", set())],
)
def test_cameras_are_named_or_all(cameras: str, names: set[str] | None) -> None:
    assert PipelineSection(cameras=cameras).camera_set == names


@pytest.mark.parametrize(
    ("topics", "patterns"),
    [
        ("frames/#", ["frames/#"]),
        ("frames/#, events/device/+/+/+/Snapshot", ["frames/#", "events/device/+/+/+/Snapshot"]),
        ("events/device/#,events/#", ["events/#"]),
        ("events/#,events/#", ["events/#"]),
        ("events/+/a,events/b/a,events/b/+", ["events/+/a", "events/b/+"]),
        ("events/+,events/#", ["events/#"]),
        ("a/+/#,a/#", ["a/#"]),
        ("a/b,a/b/c", ["a/b", "a/b/c"]),
    ],
)
def test_a_filter_that_another_one_covers_is_left_out(topics: str, patterns: list[str]) -> None:
    assert TriggerSection(subscribe_topics=topics).patterns == patterns


def test_with_the_http_trigger_nothing_is_subscribed() -> None:
    trigger = TriggerSection(type="HTTP", subscribe_topics="")
    trigger.check()
    assert trigger.patterns == []


def test_frames_of_the_message_bus_need_the_message_bus() -> None:
    with pytest.raises(
        Invalid, match=r"MessageBus\.Disabled is true, but Trigger\.Type edgex-messagebus needs the bus"
    ):
        settings(MessageBus={"Disabled": True}).check()
    settings(MessageBus={"Disabled": True}, Trigger={"Type": "http"}).check()
