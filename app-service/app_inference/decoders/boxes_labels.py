"""Detectors with NMS in the graph and separate outputs for boxes, labels and scores, as DETR and OTX exports have.

    boxes [n, 5], labels [n]             x1, y1, x2, y2 in pixels of the input, then the score
    boxes [n, 4], labels [n], scores [n] xyxy in 0..1 of the input, or in its pixels as torchvision and TensorRT's
                                         EfficientNMS have them: `box_units` says which, else values above 2 do
    and perhaps num_dets [1]             how many of the n rows count
TensorFlow's outputs have names of this kind too, and their boxes are y1, x1, y2, x2: `num_detections` gives them away.
A first side of 1 may stand before each. Outputs of other names (saliency maps, feature vectors) are left alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec
from app_inference.decoders.steps import label_ids, outputs_text, select
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.resize import Fit

_COUNTS = ("num_dets",)
_MOST_OF_UNIT = 2.0  # of a coordinate in 0..1, which may lie a little outside the picture
_BOXES, _SCORES, _LABELS = ("boxes", "bboxes", "dets"), ("scores", "score", "confidences"), ("labels", "classes")


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    boxes = _rows(outputs[_name(outputs, _BOXES)])
    count = _name(outputs, _COUNTS)
    rows = int(outputs[count].reshape(-1)[0]) if count else len(boxes)
    scores_name = _name(outputs, _SCORES)
    scores = boxes[:, 4] if boxes.shape[1] == 5 else outputs[scores_name].reshape(-1)
    sure = np.flatnonzero(scores[:rows] >= options.confidence)
    labels = outputs[_name(outputs, _LABELS)].reshape(-1)[sure]
    found = Candidates(
        boxes[sure, :4] * _unit(boxes[sure], fit, options), scores[sure], label_ids(labels, options.label_offset)
    )
    return select(found, fit, options, nms=False)[0]


def _unit(boxes: Floats, fit: Fit, options: DecodeOptions) -> Floats:
    is_large = boxes.shape[1] == 5 or bool(boxes.size and boxes[:, :4].max() > _MOST_OF_UNIT)
    units = options.box_units or ("pixels" if is_large else "unit")
    return np.ones(4, np.float32) if units == "pixels" else np.array(fit.input_size * 2, np.float32)


def _rows(boxes: NDArray[Any]) -> Floats:
    return boxes.reshape(-1, boxes.shape[-1])


def _name(names: Iterable[str], words: Sequence[str]) -> str:
    """The output whose name is, or holds, one of `words`; empty where there is none."""
    known = {name.lower(): name for name in names}
    exact = (known[word] for word in words if word in known)
    holding = (name for low, name in known.items() if low not in _COUNTS and any(word in low for word in words))
    return next(exact, next(holding, ""))


def _mismatch(expectation: Expectation) -> str | None:
    specs = {name: spec for spec in expectation.outputs for name in spec.names}
    boxes, scores, labels = (specs.get(_name(specs, words)) for words in (_BOXES, _SCORES, _LABELS))
    if boxes is None or labels is None or not _is_list(labels) or "num_detections" in specs:
        return outputs_text(expectation.outputs)
    if _is_list(boxes, 5) or (_is_list(boxes, 4) and scores is not None and _is_list(scores)):
        return None
    return outputs_text(expectation.outputs)


def _is_list(spec: TensorSpec, *width: int) -> bool:
    return spec.matches(None, *width) or spec.matches(1, None, *width)


BOXES_LABELS = Decoder(
    type="boxes_labels_scores",
    task="detection",
    expects="outputs named boxes [n, 5] and labels [n], or boxes [n, 4], labels [n] and scores [n]",
    mismatch=_mismatch,
    read=_read,
)
