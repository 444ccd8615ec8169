"""What a model finds becomes an event that core-data, eKuiper and rules can read."""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from app_inference.devices.service import result_profiles
from app_inference.inference.model import ModelFacts, Timings
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.results import (
    PROFILES,
    RESOURCES,
    FrameResult,
    classes_from,
    complete,
    event_from,
    is_empty,
    objects_from,
    result_from,
    top,
)
from app_inference.stages.zones import ZoneStage
from app_inference.vision.detections import Anomaly, Classes, Detections, Keypoints, Segmentation
from app_inference.vision.image import Image
from edgex_kit.wire import codec
from edgex_kit.wire.messages import AddEventRequest

FRAME = Frame("dock-cam", "01J8", 90211, 1790000000125000001, b"", "image/png", None, 1790000000141000002)
IMAGE = Image(np.zeros((100, 200, 3), np.uint8), 200, 100)
LABELS = ("person", "car")
TWO = Detections(
    np.array([[20, 10, 60, 90], [100, 0, 200, 50]], np.float32), np.array([0.81, 0.5], np.float32), np.array([0, 1])
)
ONE_KEYPOINT = Keypoints(TWO.take(np.array([0])), np.ones((1, 3, 2), np.float32), np.ones((1, 3), np.float32))


def pipeline(*stages: Any, labels: frozenset[str] = frozenset()) -> Any:
    return SimpleNamespace(id="lamps", labels=labels, stages=stages)


def result(found: Any = TWO, task: str = "detection", dropped: int = 0, of: Any = None) -> FrameResult:
    facts = ModelFacts("person-det", "3.0.0", "0123456789ab", task, "GPU.0", "INT8")
    model: Any = SimpleNamespace(task=task, labels=LABELS, facts=facts)
    made = result_from(found, model, of or pipeline(), FRAME, IMAGE, (3.1, Timings(1.2, 14.9, 0.8)))
    complete(made, of or pipeline(), FRAME, IMAGE, dropped)
    return made


def anomaly(score: float, *, is_anomalous: bool) -> Anomaly:
    return Anomaly(score, is_anomalous, np.zeros((4, 4), np.float32), None)  # type: ignore[arg-type]


def on_the_wire(of: FrameResult) -> dict[str, Any]:
    """The event as a subscriber reads it."""
    message = json.loads(codec.encode(AddEventRequest(event=event_from(of))))
    event: dict[str, Any] = message["payload"]["event"]
    return event


def test_every_field_of_the_schema_is_there() -> None:
    found = on_the_wire(result(dropped=2))["readings"][0]["objectValue"]
    assert int(found.pop("resultOrigin")) > 1790000000141000002
    assert found == {
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
    event = on_the_wire(result())
    assert (event["deviceName"], event["profileName"], event["sourceName"]) == ("dock-cam", "detection", "lamps")
    assert {(it["deviceName"], it["profileName"]) for it in event["readings"]} == {("dock-cam", "detection")}
    assert len({it["id"] for it in [event, *event["readings"]]}) == 6
    assert {it["origin"] for it in event["readings"]} == {event["origin"]}


def test_scalars_for_rules_are_written_as_go_writes_them() -> None:
    readings = {it["resourceName"]: (it["valueType"], it.get("value")) for it in on_the_wire(result())["readings"]}
    assert readings == {
        "Detections": ("Object", None),
        "ObjectCount": ("Int32", "2"),
        "TopLabel": ("String", "person"),
        "TopScore": ("Float32", "8.1e-01"),
        "InferenceTimeMs": ("Float32", "1.49e+01"),
    }


@pytest.mark.fault(1)
def test_tags_are_the_same_for_every_frame_of_a_model_version() -> None:
    assert on_the_wire(result())["tags"] == {"model": "person-det", "modelVersion": "3.0.0"}


def test_no_objects_are_an_empty_list_and_an_empty_label() -> None:
    event = on_the_wire(result(Detections.empty()))
    assert event["readings"][0]["objectValue"]["objects"] == []
    assert [it["value"] for it in event["readings"][1:4]] == ["0", "", "0e+00"]


def test_origins_rise_from_result_to_result() -> None:
    origins = [int(result().result_origin) for _ in range(100)]
    assert origins == sorted(set(origins))


@pytest.mark.parametrize(
    ("found", "task", "label", "count"),
    [
        (Classes(np.array([1, 0]), np.array([0.7, 0.2], np.float32)), "classification", "car", 2),
        (
            Segmentation(np.zeros((100, 200), np.uint8), np.array([0]), np.array([1.0], np.float32)),
            "segmentation",
            "person",
            1,
        ),
        (anomaly(0.9, is_anomalous=True), "anomaly", "anomalous", 0),
        (anomaly(0.1, is_anomalous=False), "anomaly", "normal", 0),
        (ONE_KEYPOINT, "keypoints", "person", 1),
    ],
)
def test_every_task_has_its_profile_and_its_resource(found: Any, task: str, label: str, count: int) -> None:
    made = result(found, task)
    event = on_the_wire(made)
    resource = event["readings"][0]["resourceName"]
    assert (event["profileName"], resource) == (PROFILES[task], RESOURCES[task])
    assert made.schema == f"vision.{resource.lower()}/1"
    assert [it["value"] for it in event["readings"][1:3]] == [str(count), label]


def test_the_shipped_profiles_hold_every_resource_of_results() -> None:
    shipped = {
        it.name: {resource.name: resource.properties.value_type for resource in it.device_resources}
        for it in result_profiles()
    }
    for task, profile in PROFILES.items():
        wanted = {RESOURCES[task]: "Object", "ObjectCount": "Int32", "TopLabel": "String", "TopScore": "Float32"}
        assert {**shipped[profile], **wanted, "InferenceTimeMs": "Float32"} == shipped[profile]


def test_labels_that_are_not_wanted_are_left_out() -> None:
    assert [it.label for it in objects_from(TWO, LABELS, (200, 100), frozenset({"car"}))] == ["car"]
    classes = Classes(np.array([1, 0]), np.array([0.7, 0.2], np.float32))
    assert [it.label for it in classes_from(classes, LABELS, frozenset({"person"}))] == ["person"]


def test_a_class_without_a_label_is_named_by_its_number() -> None:
    assert [it.label for it in objects_from(TWO, (), (200, 100), frozenset())] == ["0", "1"]


def test_objects_pass_through_the_stages_of_the_pipeline_in_order() -> None:
    zones = ZoneStage({"left": "0,0,0.5,0,0.5,1,0,1", "top": "0,0,1,0,1,0.5,0,0.5"})
    only_top = SimpleNamespace(process=lambda _frame, _image, objects: tuple(it for it in objects if "top" in it.zones))
    assert [it.zones for it in result(of=pipeline(zones)).objects or ()] == [("left",), ("top",)]
    assert [it.label for it in result(of=pipeline(zones, only_top)).objects or ()] == ["car"]
    assert result(of=pipeline(only_top, zones)).objects == ()


def test_keypoints_come_with_their_object() -> None:
    points = np.array([[[1, 2], [3, 4]]], np.float32)
    found = Keypoints(TWO.take(np.array([1])), points, np.array([[0.5, 0.25]], np.float32))
    (one,) = objects_from(found, LABELS, (200, 100), frozenset())
    assert one.keypoints == ((1.0, 2.0, 0.5), (3.0, 4.0, 0.25))


@pytest.mark.parametrize(
    ("found", "task", "empty"),
    [
        (TWO, "detection", False),
        (Detections.empty(), "detection", True),
        (anomaly(0.9, is_anomalous=True), "anomaly", False),
        (anomaly(0.1, is_anomalous=False), "anomaly", True),
    ],
)
def test_a_result_is_empty_without_objects_classes_or_an_anomaly(found: Any, task: str, empty: bool) -> None:
    assert is_empty(result(found, task)) is empty


def test_the_top_is_the_best_score_wherever_it_stands() -> None:
    assert top(result(TWO.take(np.array([1, 0])))) == ("person", 0.81)


def test_a_result_reads_back_from_its_own_json() -> None:
    made = result()
    assert msgspec.json.decode(msgspec.json.encode(made), type=FrameResult) == made
