"""BlazeFace, MediaPipe's face detectors: boxes [1, anchors, 16] and scores [1, anchors, 1], raw.

A box is centre and sides in pixels of the input, the centre counted from its anchor's; six points of the face follow,
which are not used. Anchors lie in the middle of grid cells, several a cell, and their number tells the grid.
"""

from functools import lru_cache

import numpy as np

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec, TypeDefaults
from app_inference.decoders.steps import corners_from_centers, outputs_text, select
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.image import Size
from app_inference.vision.resize import LETTERBOX, Fit

# anchors -> cells a side and anchors a cell, as the model lists them: the close range models, and the full range one
_GRIDS = {896: ((16, 2), (8, 6)), 2304: ((48, 1),)}
_LOGIT_LIMIT = 80.0  # the sigmoid of more is 1 all the same, and its exponential no number


@lru_cache(maxsize=8)
def _centers(anchors: int, size: Size) -> Floats:
    """(anchors, 2) x, y in pixels of the input."""
    parts = []
    for cells, each in _GRIDS[anchors]:
        middle = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(middle, middle), 2).reshape(-1, 2)
        parts.append(np.repeat(grid, each, 0))
    return np.asarray(np.concatenate(parts) * np.array(size), np.float32)


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    logits = _last_side(outputs, 1)[:, 0]
    scores = np.asarray(1 / (1 + np.exp(-np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT))), np.float32)
    sure = np.flatnonzero(scores >= options.confidence)
    boxes = _last_side(outputs, 16)[sure, :4]
    boxes[:, :2] += _centers(len(scores), fit.input_size)[sure]
    found = Candidates(corners_from_centers(boxes), scores[sure], np.zeros(len(sure), np.int32))
    return select(found, fit, options, nms=True)[0]


def _last_side(outputs: Outputs, length: int) -> Floats:
    return np.asarray(next(values for values in outputs.values() if values.shape[-1] == length)[0], np.float32)


def _mismatch(expectation: Expectation) -> str | None:
    boxes, scores = (_only(expectation, width) for width in (16, 1))
    if len(expectation.outputs) != 2 or boxes is None or scores is None or boxes.shape[1] != scores.shape[1]:
        return outputs_text(expectation.outputs)
    if expectation.labels > 1:
        return f"it finds faces alone, {expectation.labels} labels are given"
    return None


def _only(expectation: Expectation, width: int) -> TensorSpec | None:
    fitting = [spec for spec in expectation.outputs if spec.matches(1, None, width) and spec.shape[1] in _GRIDS]
    return fitting[0] if len(fitting) == 1 and fitting[0].dtype.startswith("float") else None


BLAZEFACE = Decoder(
    type="blazeface",
    task="detection",
    expects=f"two float outputs, [1, anchors, 16] and [1, anchors, 1] of {' or '.join(map(str, _GRIDS))} anchors",
    mismatch=_mismatch,
    read=_read,
    defaults=TypeDefaults(
        resize=LETTERBOX,
        color="RGB",
        mean=(127.5,),
        scale=(127.5,),
        labels=("face",),
        options=DecodeOptions(confidence=0.5, iou=0.3),
    ),
)
