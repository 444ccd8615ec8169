"""Semantic segmentation: a class for every pixel, as the map itself or as a score a class."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec
from app_inference.decoders.steps import label_mismatch, outputs_text
from app_inference.vision.detections import NO_CLASS, Segmentation
from app_inference.vision.resize import Fit

_IGNORED = ("saliency_map", "feature_vector")
_MOST_CLASSES = 255


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Segmentation:
    raw = next(values for name, values in outputs.items() if name not in _IGNORED)
    plane = _class_map(raw)
    if options.label_offset:
        plane = np.where(plane < options.label_offset, NO_CLASS, plane - options.label_offset).astype(np.uint8)
    class_map = fit.plane_to_original(plane, nearest=True, outside=NO_CLASS)
    counts = cv2.calcHist([class_map], [0], None, [256], [0, 256]).reshape(-1)[:NO_CLASS]  # 4 times bincount's speed
    ids = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    areas = counts[ids] / class_map.size
    return Segmentation(class_map, ids.astype(np.int32), areas.astype(np.float32))


def _class_map(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """(h, w) of class numbers; the best class is taken at the model's own scale, where it is cheapest."""
    if raw.dtype.kind == "f":
        scores = raw[0] if np.isfinite(raw.sum()) else np.nan_to_num(raw[0], nan=-np.inf)
        return scores.argmax(0).astype(np.uint8)  # type: ignore[no-any-return]
    return raw.reshape(raw.shape[-2:]).astype(np.uint8)


def _mismatch(expectation: Expectation) -> str | None:
    maps = [spec for spec in expectation.outputs if not set(spec.names) & set(_IGNORED)]
    if len(maps) != 1 or not (_is_map(maps[0]) or _is_scores(maps[0])):
        return outputs_text(expectation.outputs)
    return label_mismatch(maps[0].shape[1], expectation.labels) if _is_scores(maps[0]) else None


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
    mismatch=_mismatch,
    read=_read,
)
