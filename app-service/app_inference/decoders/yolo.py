"""The YOLO heads whose boxes are decoded in the graph; they are in pixels of the input.

[1, 4 + classes, anchors]   yolov8        v8, v9, 11, 12, and v5 as Ultralytics exports it now
[1, anchors, 5 + classes]   yolov5        v5 and v7 with objectness
[1, boxes, 6]               yolo_end2end  v10, 26: x1, y1, x2, y2, score, class, suppressed in the graph
"""

from collections.abc import Callable

from app_inference.decoders.candidates import corners_from_centers, from_columns, label_ids, select, sure_rows
from app_inference.decoders.contract import (
    DecodeOptions,
    Decoder,
    Expectation,
    Outputs,
    TypeDefaults,
    came,
    label_complaint,
    only_shape,
    only_values,
)
from app_inference.vision.detections import Candidates, Detections
from app_inference.vision.resize import LETTERBOX, Fit

ULTRALYTICS = TypeDefaults(
    resize=LETTERBOX, pad=114, color="RGB", scale=(255.0,), options=DecodeOptions(confidence=0.25, iou=0.7)
)
_MOST_BOXES = 1000  # a graph that suppresses lists some hundred boxes; one that does not, thousands of anchors


def _read_v8(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    return select(from_columns(raw[:4], raw[4:], options)[0], fit, options, nms=True)[0]


def _read_v5(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    sure, scores, ids = sure_rows(raw, options)
    return select(Candidates(corners_from_centers(raw[sure, :4]), scores, ids), fit, options, nms=True)[0]


def _read_end2end(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    rows = raw[raw[:, 4] >= options.confidence]
    found = Candidates(rows[:, :4], rows[:, 4], label_ids(rows[:, 5], options.label_offset))
    return select(found, fit, options, nms=False)[0]


def _head(before: int, side: int) -> Callable[[Expectation], str | None]:
    """The complaint about what is not one output with `before` terms and then its classes along `side`, and the anchors
    along the other."""

    def complaint(expectation: Expectation) -> str | None:
        wrong = only_shape(expectation, 1, None, None)
        if wrong is not None:
            return wrong
        shape = expectation.outputs[0].shape
        channels, anchors = shape[side], shape[3 - side]
        if not _is_head(channels, anchors, before):
            return came(expectation.outputs)
        return label_complaint(channels and channels - before, expectation.labels)

    return complaint


def _complaint_end2end(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, 6)
    if wrong is not None:
        return wrong
    boxes = expectation.outputs[0].shape[1]
    return came(expectation.outputs) if boxes is not None and boxes > _MOST_BOXES else None


def _is_head(channels: int | None, anchors: int | None, before: int) -> bool:
    """Whether these sides can be meant this way round: a class at least, and more anchors than channels."""
    return (channels is None or channels > before) and (None in (channels, anchors) or anchors > channels)  # type: ignore[operator]


YOLOV8 = Decoder(
    type="yolov8",
    task="detection",
    expects="one float output [1, 4 + classes, anchors]",
    complaint=_head(before=4, side=1),
    read=_read_v8,
    defaults=ULTRALYTICS,
)

YOLOV5 = Decoder(
    type="yolov5",
    task="detection",
    expects="one float output [1, anchors, 5 + classes]",
    complaint=_head(before=5, side=2),
    read=_read_v5,
    defaults=ULTRALYTICS,
)

YOLO_END2END = Decoder(
    type="yolo_end2end",
    task="detection",
    expects=f"one float output [1, boxes, 6] of at most {_MOST_BOXES} boxes",
    complaint=_complaint_end2end,
    read=_read_end2end,
    defaults=ULTRALYTICS,
)
