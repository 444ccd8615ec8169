"""YuNet: faces, in twelve outputs; cls, obj, bbox and kps for each of the strides 8, 16 and 32."""

import numpy as np

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TypeDefaults
from app_inference.decoders.steps import corners_from_centers, outputs_text, select
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.resize import WINDOW, Fit

_STRIDES = (8, 16, 32)
_WIDTHS = {"cls": 1, "obj": 1, "bbox": 4}


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    parts = [_read_stride(outputs, stride, fit, options) for stride in _STRIDES]
    boxes, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    ids = np.zeros(len(scores), np.int32)
    return select(Candidates(boxes, scores, ids), fit, options, nms=True)[0]


def _read_stride(outputs: Outputs, stride: int, fit: Fit, options: DecodeOptions) -> tuple[Floats, Floats]:
    """Boxes and scores of the cells that are sure: a score is the root of class times objectness."""
    classes, objects = (np.clip(outputs[f"{part}_{stride}"][0, :, 0], 0, 1) for part in ("cls", "obj"))
    scores = np.sqrt(classes * objects)
    cells = np.flatnonzero(scores >= options.confidence)
    terms = outputs[f"bbox_{stride}"][0, cells]
    rows, columns = np.divmod(cells, fit.input_size[0] // stride)
    centers = (np.stack((columns, rows), 1).astype(np.float32) + terms[:, :2]) * stride
    return corners_from_centers(np.concatenate((centers, np.exp(terms[:, 2:]) * stride), 1)), scores[cells]


def _mismatch(expectation: Expectation) -> str | None:
    specs = {name: spec for spec in expectation.outputs for name in spec.names}
    for name in (f"{part}_{stride}" for stride in _STRIDES for part in _WIDTHS):
        spec = specs.get(name)
        if spec is None:
            return f"{name} is missing, {outputs_text(expectation.outputs)}"
        cells = _cells(expectation, int(name.rpartition("_")[2]))
        if not spec.matches(1, cells, _WIDTHS[name.partition("_")[0]]):
            return f"the model has {spec}, an input of this size {cells} cells there"
    if expectation.labels > 1:
        return f"it finds faces alone, {expectation.labels} labels are given"
    return None


def _cells(expectation: Expectation, stride: int) -> int | None:
    if expectation.size is None:
        return None
    return (expectation.size[0] // stride) * (expectation.size[1] // stride)


YUNET = Decoder(
    type="yunet",
    task="detection",
    expects="outputs cls, obj [1, cells, 1] and bbox [1, cells, 4] with _8, _16 and _32 at the end of their names",
    mismatch=_mismatch,
    read=_read,
    defaults=TypeDefaults(resize=WINDOW, labels=("face",), options=DecodeOptions(confidence=0.6, iou=0.3)),
)
