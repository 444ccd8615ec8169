"""What a new version may change and what not."""

from dataclasses import dataclass

import pytest
from app_inference.decoders import TensorSpec
from app_inference.rollout.compatibility import compare, differences

HEAD = (TensorSpec(("output0",), (1, 6, 8400), "float32"),)


@dataclass(frozen=True)
class Version:
    task: str = "detection"
    model_type: str = "yolov8"
    labels: tuple[str, ...] = ("person", "car", "bus")
    input_size: tuple[int, int] = (640, 640)
    outputs: tuple[TensorSpec, ...] = HEAD


@pytest.mark.goal(7)
@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (Version(labels=("car", "person", "bus")),
         ["label 0 is 'car', 'person' is expected, and 1 more, the same names in another order"]),
        (Version(labels=("person", "car", "lorry")), ["label 2 is 'lorry', 'bus' is expected"]),
        (Version(labels=("person", "car")), ["it has 2 labels, 3 are expected (gone: bus)"]),
        (Version(labels=("person", "car", "bus", "tram")), ["it has 4 labels, 3 are expected (new: tram)"]),
        (Version(labels=()), ["it has 0 labels, 3 are expected (gone: bus, car, person)"]),
        (Version(task="classification"), ["its task is classification, detection is expected"]),
    ],
)  # fmt: skip
def test_what_breaks_those_who_read_the_results_is_said(candidate: Version, said: list[str]) -> None:
    assert differences(Version(), candidate) == said


def test_labels_may_be_allowed_to_change_and_the_task_never() -> None:
    assert differences(Version(), Version(labels=("a",)), allow_labels=True) == []
    assert len(differences(Version(), Version(labels=("a",), task="anomaly"), allow_labels=True)) == 1


@pytest.mark.goal(7)
def test_what_nobody_notices_holds_nothing_and_is_told() -> None:
    outputs = (TensorSpec(("boxes",), (1, 300, 6), "float32"),)
    candidate = Version(model_type="yolo_end2end", input_size=(320, 256), outputs=outputs)
    assert differences(Version(), candidate) == []
    assert [(it.key, it.text, it.is_breaking) for it in compare(Version(), candidate)] == [
        ("type", "its type is yolo_end2end, it was yolov8", False),
        ("input", "its input is 320x256 pixels, it was 640x640", False),
        ("outputs", "output 0 is boxes [1, 300, 6] float32, it was output0 [1, 6, 8400] float32", False),
    ]
    assert [it.text for it in compare(Version(), Version(outputs=HEAD * 2))] == [
        "it has 2 outputs; the current version has 1"
    ]


def test_the_same_is_the_same() -> None:
    renamed = (TensorSpec(("other_name",), (1, 6, 8400), "float32"),)
    assert compare(Version(), Version(outputs=renamed)) == []
