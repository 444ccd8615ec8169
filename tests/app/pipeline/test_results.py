"""A finding becomes an event that core-data, eKuiper and rules can read."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from app_inference.devices.startup import result_profiles
from app_inference.pipeline.results import (
    PROFILES,
    RESOURCES,
    Finding,
    FrameFacts,
    FrameResult,
    ImageFacts,
    ModelFacts,
    TimingFacts,
    answer_from,
    classes_from,
    event_from,
    objects_from,
    top,
)
from app_inference.stages.zones import parse_zone
from app_inference.vision.detections import Anomaly, Classes, Detections, Keypoints, Segmentation
from edgex_kit.wire import codec
from edgex_kit.wire.messages import AddEventRequest

FRAME = FrameFacts(
    "dock-cam", "01J8", 90211, 1790000000125000001, 1790000000141000002, ImageFacts(200, 100, "image/png")
)
TIMING = TimingFacts(3.1, 1.2, 14.9, 0.8, 20.0)
LABELS = ("person", "car")
TWO = Detections(
    np.array([[20, 10, 60, 90], [100, 0, 200, 50]], np.float32), np.array([0.81, 0.5], np.float32), np.array([0, 1])
)


def model(task: str = "detection") -> ModelFacts:
    return ModelFacts("person-det", "3.0.0", "0123456789ab", task, "GPU.0", "INT8")


def finding(result: Any = TWO, task: str = "detection", **fields: Any) -> Finding:
    known: dict[str, Any] = {
        "pipeline": "lamps",
        "is_news": True,
        "result": result,
        "frame": FRAME,
        "model": model(task),
        "timing": TIMING,
        "objects": objects_from(result, LABELS, (200, 100), frozenset(), ()),
        "classes": classes_from(result, LABELS, frozenset()),
    }
    return Finding(**{**known, **fields})


def on_the_wire(answer: FrameResult) -> dict[str, Any]:
    """The event as a subscriber reads it."""
    message = json.loads(codec.encode(AddEventRequest(event=event_from(answer))))
    event: dict[str, Any] = message["payload"]["event"]
    return event


def test_every_field_of_the_schema_is_there() -> None:
    said = on_the_wire(answer_from(finding(), dropped=2))["readings"][0]["objectValue"]
    assert int(said.pop("resultOrigin")) > 1790000000141000002
    assert said == {
        "schema": "vision.detections/1",
        "pipeline": "lamps",
        "camera": "dock-cam",
        "frameId": "01J8",
        "seq": 90211,
        "captureOrigin": "1790000000125000001",
        "receivedOrigin": "1790000000141000002",
        "droppedSinceLast": 2,
        "image": {"width": 200, "height": 100, "mediaType": "image/png"},
        "model": {
            "name": "person-det",
            "version": "3.0.0",
            "digest": "0123456789ab",
            "task": "detection",
            "device": "GPU.0",
            "precision": "INT8",
        },
        "timingMs": {"decode": 3.1, "pre": 1.2, "infer": 14.9, "post": 0.8, "total": 20.0},
        "objects": [
            {
                "label": "person",
                "labelId": 0,
                "score": 0.81,
                "box": [20.0, 10.0, 60.0, 90.0],
                "boxNorm": [0.1, 0.1, 0.3, 0.9],
                "zones": [],
            },
            {
                "label": "car",
                "labelId": 1,
                "score": 0.5,
                "box": [100.0, 0.0, 200.0, 50.0],
                "boxNorm": [0.5, 0.0, 1.0, 0.5],
                "zones": [],
            },
        ],
    }


def test_names_are_equal_in_the_event_and_all_its_readings() -> None:
    event = on_the_wire(answer_from(finding(), dropped=0))
    assert (event["deviceName"], event["profileName"], event["sourceName"]) == ("dock-cam", "detection", "lamps")
    assert {(it["deviceName"], it["profileName"]) for it in event["readings"]} == {("dock-cam", "detection")}
    assert len({it["id"] for it in [event, *event["readings"]]}) == 6
    assert {it["origin"] for it in event["readings"]} == {event["origin"]}


def test_scalars_for_rules_are_written_as_go_writes_them() -> None:
    scalars = {it["resourceName"]: it for it in on_the_wire(answer_from(finding(), dropped=0))["readings"]}
    assert scalars["Detections"]["valueType"] == "Object"
    assert (scalars["ObjectCount"]["valueType"], scalars["ObjectCount"]["value"]) == ("Int32", "2")
    assert (scalars["TopLabel"]["valueType"], scalars["TopLabel"]["value"]) == ("String", "person")
    assert (scalars["TopScore"]["valueType"], scalars["TopScore"]["value"]) == ("Float32", "8.1e-01")
    assert (scalars["InferenceTimeMs"]["valueType"], scalars["InferenceTimeMs"]["value"]) == ("Float32", "1.49e+01")


def test_tags_tie_the_event_to_its_frame_and_model() -> None:
    assert on_the_wire(answer_from(finding(), dropped=0))["tags"] == {
        "frameId": "01J8",
        "seq": 90211,
        "captureOrigin": "1790000000125000001",
        "model": "person-det",
        "modelVersion": "3.0.0",
    }


def test_nothing_found_is_told_with_an_empty_list_and_an_empty_label() -> None:
    answer = answer_from(finding(Detections.empty()), dropped=0)
    event = on_the_wire(answer)
    assert event["readings"][0]["objectValue"]["objects"] == []
    assert [it["value"] for it in event["readings"][1:4]] == ["0", "", "0e+00"]


def test_origins_rise_from_result_to_result() -> None:
    origins = [int(answer_from(finding(), dropped=0).result_origin) for _ in range(100)]
    assert origins == sorted(set(origins))


@pytest.mark.parametrize(
    ("result", "task", "label", "count"),
    [
        (Classes(np.array([1, 0]), np.array([0.7, 0.2], np.float32)), "classification", "car", 2),
        (
            Segmentation(np.zeros((100, 200), np.uint8), np.array([0]), np.array([1.0], np.float32)),
            "segmentation",
            "person",
            1,
        ),
        (Anomaly(0.9, True, np.zeros((4, 4), np.float32), None), "anomaly", "anomalous", 0),  # type: ignore[arg-type]
        (Anomaly(0.1, False, np.zeros((4, 4), np.float32), None), "anomaly", "normal", 0),  # type: ignore[arg-type]
        (
            Keypoints(TWO.take(np.array([0])), np.ones((1, 3, 2), np.float32), np.ones((1, 3), np.float32)),
            "keypoints",
            "person",
            1,
        ),
    ],
)
def test_every_task_has_its_profile_and_its_resource(result: Any, task: str, label: str, count: int) -> None:
    answer = answer_from(finding(result, task), dropped=0)
    event = on_the_wire(answer)
    resource = event["readings"][0]["resourceName"]
    assert (event["profileName"], resource) == (PROFILES[task], RESOURCES[task])
    assert answer.schema == f"vision.{resource.lower()}/1"
    assert [it["value"] for it in event["readings"][1:3]] == [str(count), label]


def test_the_profiles_we_ship_hold_every_resource_we_send() -> None:
    shipped = {
        it.name: {resource.name: resource.properties.value_type for resource in it.device_resources}
        for it in result_profiles()
    }
    for task, profile in PROFILES.items():
        wanted = {RESOURCES[task]: "Object", "ObjectCount": "Int32", "TopLabel": "String", "TopScore": "Float32"}
        assert {**shipped[profile], **wanted, "InferenceTimeMs": "Float32"} == shipped[profile]


def test_labels_that_are_not_wanted_are_left_out() -> None:
    assert [it.label for it in objects_from(TWO, LABELS, (200, 100), frozenset({"car"}), ())] == ["car"]
    classes = Classes(np.array([1, 0]), np.array([0.7, 0.2], np.float32))
    assert [it.label for it in classes_from(classes, LABELS, frozenset({"person"}))] == ["person"]


def test_a_class_without_a_label_is_named_by_its_number() -> None:
    assert [it.label for it in objects_from(TWO, (), (200, 100), frozenset(), ())] == ["0", "1"]


def test_an_object_is_in_the_zones_it_stands_in() -> None:
    zones = (parse_zone("left", "0,0,0.5,0,0.5,1,0,1"), parse_zone("top", "0,0,1,0,1,0.5,0,0.5"))
    found = objects_from(TWO, LABELS, (200, 100), frozenset(), zones)
    assert [it.zones for it in found] == [("left",), ("top",)]


def test_joints_come_with_their_object() -> None:
    points = np.array([[[1, 2], [3, 4]]], np.float32)
    result = Keypoints(TWO.take(np.array([1])), points, np.array([[0.5, 0.25]], np.float32))
    found = objects_from(result, LABELS, (200, 100), frozenset(), ())
    assert found[0].keypoints == ((1.0, 2.0, 0.5), (3.0, 4.0, 0.25))


@pytest.mark.parametrize(
    ("result", "is_news", "is_told"),
    [
        (TWO, False, True),
        (Detections.empty(), False, False),
        (Detections.empty(), True, True),
        (Anomaly(0.9, True, np.zeros((1, 1), np.float32), None), False, True),  # type: ignore[arg-type]
        (Anomaly(0.1, False, np.zeros((1, 1), np.float32), None), False, False),  # type: ignore[arg-type]
    ],
)
def test_a_quiet_pipeline_tells_only_what_it_found(result: Any, is_news: bool, is_told: bool) -> None:
    task = "anomaly" if isinstance(result, Anomaly) else "detection"
    assert finding(result, task, is_news=is_news).is_told is is_told


def test_the_top_is_the_best_score_wherever_it_stands() -> None:
    backwards = TWO.take(np.array([1, 0]))
    assert top(answer_from(finding(backwards), dropped=0)) == ("person", 0.81)


def test_an_answer_reads_back_from_its_own_json() -> None:
    answer = answer_from(finding(), dropped=1)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=FrameResult) == answer
