"""The SSD family, which suppresses in the graph: OpenVINO's DetectionOutput, and TensorFlow's object detection API."""

from collections.abc import Sequence

import numpy as np

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec, TypeDefaults
from app_inference.decoders.steps import label_ids, only_shape, outputs_text, select
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.resize import Fit

_TF_SHAPES = {
    "detection_boxes": (1, None, 4),
    "detection_scores": (1, None),
    "detection_classes": (1, None),
    "num_detections": (1,),
}


def _read_rows(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    """Rows of image id, class, score, x1, y1, x2, y2 in 0..1; the first image id below 0 ends them."""
    rows = next(iter(outputs.values()))[0, 0]
    sure = rows[np.logical_and.accumulate(rows[:, 0] >= 0) & (rows[:, 2] >= options.confidence)]
    return _scaled(sure[:, 3:7], sure[:, 2], sure[:, 1], fit, options)


def _read_tf(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    """Boxes are y1, x1, y2, x2 in 0..1; rows from `num_detections` on are left over from nothing."""
    count = outputs["num_detections"].reshape(-1)[0]
    count = int(count) if np.isfinite(count) else 0
    scores = outputs["detection_scores"][0, :count]
    sure = np.flatnonzero(scores >= options.confidence)
    boxes = outputs["detection_boxes"][0][sure][:, [1, 0, 3, 2]]
    return _scaled(boxes, scores[sure], outputs["detection_classes"][0][sure], fit, options)


def _scaled(boxes: Floats, scores: Floats, classes: Floats, fit: Fit, options: DecodeOptions) -> Detections:
    ids = label_ids(classes, options.label_offset)
    pixels = boxes * np.array(fit.input_size * 2, np.float32)
    return select(Candidates(pixels, scores, ids), fit, options, nms=False)[0]


def _mismatch_rows(expectation: Expectation) -> str | None:
    return only_shape(expectation, 1, 1, None, 7)


def _mismatch_tf(expectation: Expectation) -> str | None:
    named = {name: spec for name in _TF_SHAPES for spec in expectation.outputs if name in spec.names}
    wrong = [spec for name, spec in named.items() if not spec.matches(*_TF_SHAPES[name])]
    if len(named) == len(_TF_SHAPES) and not wrong:
        return None
    return _missing(named, expectation.outputs) if not wrong else outputs_text(wrong)


def _missing(named: dict[str, TensorSpec], outputs: Sequence[TensorSpec]) -> str:
    return f"{', '.join(sorted(_TF_SHAPES.keys() - named.keys()))} missing, {outputs_text(outputs)}"


SSD = Decoder(
    type="ssd",
    task="detection",
    expects="one float output [1, 1, boxes, 7]",
    mismatch=_mismatch_rows,
    read=_read_rows,
)

SSD_TF = Decoder(
    type="ssd_tf",
    task="detection",
    expects="outputs named detection_boxes [1, boxes, 4], detection_scores and detection_classes [1, boxes], "
    "num_detections [1]",
    mismatch=_mismatch_tf,
    read=_read_tf,
    defaults=TypeDefaults(color="RGB", options=DecodeOptions(label_offset=1)),
)
