"""What makers call their models: which decoder is meant, and what is refused."""

import pytest
from app_inference.decoders import ALIASES, DECODERS, TensorSpec, normalise
from app_inference.errors import ModelRejected


def one(*shape: int | None, dtype: str = "float32", name: str = "output0") -> list[TensorSpec]:
    return [TensorSpec((name,), shape, dtype)]


@pytest.mark.parametrize(
    ("said", "outputs", "labels", "meant"),
    [
        ("YOLO", one(1, 84, 8400), 80, "yolov8"),
        ("YOLO", one(1, 84, 8400), 0, "yolov8"),
        ("YOLO", one(1, 300, 6), 80, "yolo_end2end"),
        ("YOLO", one(1, 300, 6), 0, "yolo_end2end"),
        ("YOLO", one(1, 56, 8400), 1, "yolo_pose"),
        ("YOLO", [*one(1, 116, 8400), *one(1, 32, 160, 160, name="output1")], 80, "yolo_seg"),
        ("YOLOv8", one(1, 84, 8400), 80, "yolov8"),
        ("YOLO11", one(1, 84, 8400), 80, "yolov8"),
        ("yolo_v8", one(1, 84, 8400), 80, "yolov8"),
        ("YOLOv5", one(1, 25200, 85), 80, "yolov5"),
        ("YOLOv5", one(1, 84, 8400), 80, "yolov8"),
        ("yolov10", one(1, 300, 6), 80, "yolo_end2end"),
        ("YOLOX", one(1, 3549, 85), 80, "yolox"),
        ("SSD", one(1, 1, 200, 7), 20, "ssd"),
        (
            "ssd",
            [*one(1, None, 5, name="boxes"), *one(1, None, name="labels", dtype="int64")],
            3,
            "boxes_labels_scores",
        ),
        ("detection_output", one(1, 1, 200, 7), 0, "ssd"),
        ("Classification", one(1, 1000), 1000, "classification"),
        ("label", one(1, 1000), 0, "classification"),
        ("Segmentation", one(1, 513, 513, dtype="int64"), 21, "segmentation"),
        ("AnomalyDetection", one(1, 1, 256, 256), 2, "anomaly"),
    ],
)
def test_what_makers_call_their_models_is_settled_by_the_outputs(
    said: str, outputs: list[TensorSpec], labels: int, meant: str
) -> None:
    assert normalise(said, outputs, labels) == meant


def test_two_meanings_are_refused_with_both() -> None:
    with pytest.raises(ModelRejected, match=r"YOLO may mean yolov8 or yolo_pose: say which; .*\[1, 56, 8400\]"):
        normalise("YOLO", one(1, 56, 8400))


def test_our_own_word_stands_where_the_outputs_allow_it() -> None:
    assert normalise("yolov8", one(1, 56, 8400)) == "yolov8"
    assert normalise("yolo_pose", one(1, 56, 8400)) == "yolo_pose"


def test_a_thousand_anchors_are_not_taken_for_boxes() -> None:
    with pytest.raises(ModelRejected, match=r"at most 1000 boxes; the model has output0 \[1, 25200, 6\]"):
        normalise("yolo_end2end", one(1, 25200, 6))


def test_no_meaning_is_refused_with_what_each_expects() -> None:
    with pytest.raises(ModelRejected) as refused:
        normalise("YOLO", one(1, 3, 20, 20, 85), 80)
    assert "type yolov8 expects one float output [1, 4 + classes, anchors]" in str(refused.value)
    assert "the model has output0 [1, 3, 20, 20, 85] float32" in str(refused.value)


def test_wrong_labels_are_refused_whatever_the_maker_calls_it() -> None:
    with pytest.raises(ModelRejected, match=r"^type [a-z0-9]+: the model has 80 classes, 79 labels are given"):
        normalise("YOLO", one(1, 84, 8400), 79)


def test_labels_without_the_background_are_refused_with_what_to_say() -> None:
    with pytest.raises(ModelRejected, match=r"21 classes, 20 labels are given; .* say label_offset: 1"):
        normalise("Segmentation", one(1, 21, 65, 65), 20)


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelRejected, match=r"model type 'MaskRCNN' is not known; known are .*yolox"):
        normalise("MaskRCNN", one(1, 84, 8400))


def test_a_grid_of_another_size_is_refused() -> None:
    with pytest.raises(ModelRejected, match="an input of 416x416 has 3549 cells, the model 8400"):
        normalise("yolox", one(1, 8400, 85), 80, (416, 416))


def test_aliases_lead_to_decoders_that_exist() -> None:
    assert {meaning for meanings in ALIASES.values() for meaning in meanings} <= DECODERS.keys()
