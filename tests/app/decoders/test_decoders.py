"""What holds for every decoder, and which model may be read by which."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from app_inference.decoders import DECODERS, DecodeOptions, TensorSpec
from app_inference.decoders.yolo import grid
from app_inference.errors import ModelRejected
from app_inference.vision.detections import Result
from app_inference.vision.resize import Fit
from numpy.typing import NDArray

SIZE = (64, 64)
FIT = Fit(SIZE, (128, 128), (0.5, 0.5))
CELLS = len(grid(SIZE)[1])  # 84

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Family:
    """Outputs of the right shapes that say nothing, how to make them say one thing, and its classes."""

    outputs: Callable[[], Arrays]
    speak: Callable[[Arrays], None]
    classes: int  # 0: the shapes do not tell


def zeros(**shapes: tuple[int, ...]) -> Callable[[], Arrays]:
    return lambda: {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def put(name: str, index: Any, values: Any) -> Callable[[Arrays], None]:
    def speak(outputs: Arrays) -> None:
        outputs[name][index] = values

    return speak


def speak_yunet(outputs: Arrays) -> None:
    outputs["cls_16"][0, 5] = outputs["obj_16"][0, 5] = 0.95


def speak_triple(outputs: Arrays) -> None:
    outputs["boxes"][0, 0] = (0.1, 0.1, 0.5, 0.5)
    outputs["scores"][0, 0] = 0.9


def speak_tf(outputs: Arrays) -> None:
    outputs["num_detections"][:] = 1
    outputs["detection_boxes"][0, 0] = (0.1, 0.1, 0.5, 0.5)
    outputs["detection_scores"][0, 0] = 0.9
    outputs["detection_classes"][0, 0] = 1


def speak_seg(outputs: Arrays) -> None:
    outputs["head"][0, :, 7] = (30, 30, 20, 20, 0.9, 0, 0, 1, 0)
    outputs["masks"][0, 0] = 5


def yunet_outputs() -> Arrays:
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return {
        f"{part}_{stride}": np.zeros((1, (64 // stride) ** 2, width), np.float32)
        for part, width in widths.items()
        for stride in (8, 16, 32)
    }


def blazeface_outputs() -> Arrays:
    return {"regressors": np.zeros((1, 896, 16), np.float32), "classificators": np.full((1, 896, 1), -9, np.float32)}


def speak_blazeface(outputs: Arrays) -> None:
    outputs["regressors"][0, 300, :4] = (1, -1, 20, 20)
    outputs["classificators"][0, 300] = 3


FAMILIES: dict[str, Family] = {
    "yolox": Family(zeros(out=(1, CELLS, 8)), put("out", (0, 3), (0, 0, 1, 1, 0.95, 0, 0.9, 0)), 3),
    "yolov8": Family(zeros(out=(1, 7, 84)), put("out", (0, slice(None), 9), (30, 30, 20, 20, 0, 0.9, 0)), 3),
    "yolov5": Family(zeros(out=(1, 252, 8)), put("out", (0, 9), (30, 30, 20, 20, 0.95, 0, 0.9, 0)), 3),
    "yolo_end2end": Family(zeros(out=(1, 300, 6)), put("out", (0, 0), (10, 10, 40, 40, 0.9, 2)), 0),
    "yolo_seg": Family(zeros(head=(1, 9, 84), masks=(1, 2, 16, 16)), speak_seg, 3),
    "yolo_pose": Family(
        zeros(out=(1, 14, 84)), put("out", (0, slice(None), 9), (30, 30, 20, 20, 0.9, *(25, 25, 0.8) * 3)), 1
    ),
    "ssd": Family(zeros(out=(1, 1, 50, 7)), put("out", (0, 0, 0), (0, 1, 0.9, 0.1, 0.1, 0.5, 0.5)), 0),
    "ssd_tf": Family(
        zeros(detection_boxes=(1, 50, 4), detection_scores=(1, 50), detection_classes=(1, 50), num_detections=(1,)),
        speak_tf,
        0,
    ),
    "boxes_labels_scores": Family(zeros(boxes=(1, 20, 4), scores=(1, 20), labels=(1, 20)), speak_triple, 0),
    "fastestdet": Family(
        zeros(out=(1, 8, 22, 22)), put("out", (0, slice(None), 4, 4), (0.95, 0, 0, -1, -1, 0, 0.95, 0)), 3
    ),
    "yunet": Family(yunet_outputs, speak_yunet, 1),
    "blazeface": Family(blazeface_outputs, speak_blazeface, 1),
    "classification": Family(zeros(out=(1, 5)), put("out", (0, 2), 9), 5),
    "segmentation": Family(zeros(out=(1, 4, 16, 16)), put("out", (0, 2, slice(8), slice(8)), 3), 4),
    "movenet": Family(zeros(out=(1, 1, 17, 3)), put("out", (0, 0, slice(2)), ((0.4, 0.5, 0.9), (0.6, 0.7, 0.8))), 1),
    "anomaly": Family(zeros(out=(1, 1, 16, 16)), put("out", (0, 0, 3, 3), 4), 0),
}
NAMES = sorted(FAMILIES)
ALIKE = {  # what cannot be told apart by shape alone
    *((name, name) for name in NAMES),
    ("fastestdet", "segmentation"),
    ("segmentation", "fastestdet"),
    ("yolov5", "yolox"),
    ("anomaly", "ssd"),
    ("anomaly", "movenet"),
}
OBJECTS = [name for name in NAMES if DECODERS[name].task in ("detection", "instance_segmentation", "keypoints")]


def specs(outputs: Arrays) -> list[TensorSpec]:
    return [TensorSpec((name,), values.shape, values.dtype.name) for name, values in outputs.items()]


def decoded(name: str, outputs: Arrays) -> Result:
    return DECODERS[name].decode(outputs, FIT, DECODERS[name].defaults.options)


def found_by(result: Any) -> Any:
    return getattr(result, "found", result)


def arrays_in(value: Any) -> list[NDArray[Any]]:
    if isinstance(value, np.ndarray):
        return [value]
    return [it for part in fields(value) for it in arrays_in(getattr(value, part.name))] if is_dataclass(value) else []


def test_every_decoder_is_tried_here() -> None:
    assert sorted(DECODERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_outputs_of_its_own_shape_are_accepted(name: str) -> None:
    family = FAMILIES[name]
    DECODERS[name].check(specs(family.outputs()), family.classes, SIZE)
    DECODERS[name].check(specs(family.outputs()), 0, None)


@pytest.mark.parametrize("name", [name for name in NAMES if FAMILIES[name].classes > 1])
@pytest.mark.parametrize("off", [-1, 1, 7])
def test_a_wrong_number_of_labels_is_refused_with_both_numbers(name: str, off: int) -> None:
    family = FAMILIES[name]
    with pytest.raises(ModelRejected, match=f"{family.classes} classes, {family.classes + off} labels"):
        DECODERS[name].check(specs(family.outputs()), family.classes + off, SIZE)


@pytest.mark.parametrize(("name", "other"), [(a, b) for a in NAMES for b in NAMES if (a, b) not in ALIKE])
def test_outputs_of_another_family_are_refused_with_what_was_expected_and_what_came(name: str, other: str) -> None:
    outputs = specs(FAMILIES[other].outputs())
    labels = FAMILIES[other].classes or 30
    with pytest.raises(ModelRejected, match=f"^type {name}.* expects "):
        DECODERS[name].check(outputs, labels, SIZE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("came", [[], [TensorSpec(("x",), (), "float32")], [TensorSpec(("x",), (3, 5, 7), "string")]])
def test_strange_outputs_are_refused(name: str, came: list[TensorSpec]) -> None:
    with pytest.raises(ModelRejected, match="the model has"):
        DECODERS[name].check(came, 0, SIZE)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_model_that_sees_nothing_finds_nothing(name: str) -> None:
    found = found_by(decoded(name, FAMILIES[name].outputs()))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_model_that_sees_one_thing_finds_it_within_the_picture(name: str) -> None:
    outputs = FAMILIES[name].outputs()
    FAMILIES[name].speak(outputs)
    found = found_by(decoded(name, outputs))
    assert len(found) == 1
    assert 0.25 < found.scores[0] <= 1
    left, top, right, bottom = found.boxes[0]
    assert 0 <= left < right <= 128
    assert 0 <= top < bottom <= 128


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38, -1e38])
def test_outputs_that_are_no_numbers_raise_nothing_and_reach_no_result(name: str, bad: float) -> None:
    outputs = FAMILIES[name].outputs()
    for values in outputs.values():
        values[...] = bad
    for values in arrays_in(decoded(name, outputs)):
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", OBJECTS)
def test_one_broken_number_does_not_hide_the_rest(name: str) -> None:
    outputs = FAMILIES[name].outputs()
    FAMILIES[name].speak(outputs)
    whole = found_by(decoded(name, outputs))
    for values in outputs.values():
        if values.size > 1 and values.ndim > 1 and not values.reshape(-1)[-1]:
            values.reshape(-1)[-1] = np.nan
    found = found_by(decoded(name, outputs))
    assert found.boxes.tolist() == whole.boxes.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_results_hold_when_the_next_inference_overwrites_the_outputs(name: str) -> None:
    outputs = FAMILIES[name].outputs()
    FAMILIES[name].speak(outputs)
    result = decoded(name, outputs)
    before = [values.copy() for values in arrays_in(result)]
    for values in outputs.values():
        values[...] = 77
    assert all((one == other).all() for one, other in zip(before, arrays_in(result), strict=True))
    assert not any(np.shares_memory(one, other) for one in arrays_in(result) for other in outputs.values())


@pytest.mark.parametrize("name", OBJECTS)
def test_a_score_below_the_limit_does_not_count(name: str) -> None:
    outputs = FAMILIES[name].outputs()
    FAMILIES[name].speak(outputs)
    strict = replace(DECODERS[name].defaults.options, confidence=0.99)
    assert len(found_by(DECODERS[name].decode(outputs, FIT, strict))) == 0


def test_options_have_no_default_that_would_hide_a_result() -> None:
    for decoder in DECODERS.values():
        options: DecodeOptions = decoder.defaults.options
        assert 0 < options.confidence < 1
        assert options.top_k >= 1
