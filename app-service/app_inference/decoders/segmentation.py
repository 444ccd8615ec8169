"""Semantic segmentation: a class for every pixel, as the map itself or as a score a class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.contract import (
    DecodeOptions,
    Decoder,
    Expectation,
    Outputs,
    TensorSpec,
    came,
    label_complaint,
)
from app_inference.detections import NO_CLASS, Segmentation
from app_inference.fit import Fit

_ASIDE = ("saliency_map", "feature_vector")
_MOST_CLASSES = 255


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Segmentation:
    raw = next(values for name, values in outputs.items() if name not in _ASIDE)
    plane = _class_map(raw)
    labels = np.where(plane < options.label_offset, NO_CLASS, plane - options.label_offset).astype(np.uint8)
    class_map = fit.plane_to_original(labels, nearest=True, outside=NO_CLASS)
    counts = np.bincount(class_map.reshape(-1), minlength=NO_CLASS + 1)[:NO_CLASS]
    ids = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    areas = counts[ids] / class_map.size
    return Segmentation(class_map, ids.astype(np.int32), areas.astype(np.float32))


def _class_map(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """(h, w) of class numbers; the best class is taken at the model's own scale, where it is cheapest."""
    if raw.dtype.kind == "f":
        best: NDArray[np.intp] = np.nan_to_num(raw[0], nan=-np.inf).argmax(0)
        return best.astype(np.uint8)
    return raw.reshape(raw.shape[-2:]).astype(np.uint8)


def _complaint(expectation: Expectation) -> str | None:
    maps = [spec for spec in expectation.outputs if not set(spec.names) & set(_ASIDE)]
    if len(maps) != 1 or not (_is_map(maps[0]) or _is_scores(maps[0])):
        return came(expectation.outputs)
    return label_complaint(maps[0].shape[1], expectation.labels) if _is_scores(maps[0]) else None


def _is_map(spec: TensorSpec) -> bool:
    return "int" in spec.dtype and (spec.matches(1, None, None) or spec.matches(1, 1, None, None))


def _is_scores(spec: TensorSpec) -> bool:
    if not spec.dtype.startswith("float") or not spec.matches(1, None, None, None):
        return False
    return spec.shape[1] is None or 2 <= spec.shape[1] <= _MOST_CLASSES


SEGMENTATION = Decoder(
    type="segmentation",
    task="segmentation",
    expects=f"one output, class numbers [1, h, w] or float scores [1, 2 to {_MOST_CLASSES} classes, h, w]",
    complaint=_complaint,
    read=_read,
)
