"""Classifiers: one number a class, [1, classes] or [1, classes, 1, 1], as logits or as probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec
from app_inference.decoders.steps import label_mismatch, outputs_text
from app_inference.vision.detections import Classes, Floats
from app_inference.vision.resize import Fit

_IGNORED = ("saliency_map", "feature_vector", "raw_scores")  # further outputs of explainable exports


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Classes:
    raw = next(values for name, values in outputs.items() if name not in _IGNORED).reshape(-1)
    scores = _probabilities(raw, options.multilabel)[options.label_offset :]
    scores = np.where(np.isfinite(scores), scores, 0)
    limit = len(scores) if options.multilabel else options.top_k
    ids = np.argsort(-scores, kind="stable")[:limit]
    if options.multilabel:
        ids = ids[scores[ids] >= options.confidence]
    return Classes(ids.astype(np.int32), scores[ids].astype(np.float32))


def _probabilities(raw: NDArray[Any], multilabel: bool) -> Floats:
    if raw.dtype == np.uint8:  # a quantised softmax: 255 stands for 1
        return raw.astype(np.float32) / np.float32(255)
    values = np.where(np.isfinite(raw), raw, -np.inf).astype(np.float32)
    if multilabel:
        return np.asarray(1 / (1 + np.exp(-values)), np.float32)
    return values if _is_distribution(values) else _softmax(values)


def _is_distribution(values: Floats) -> bool:
    """Whether the graph ends in a softmax: logits do not happen to add up to one."""
    return bool((values >= 0).all() and abs(float(values.sum()) - 1) < 1e-3)


def _softmax(values: Floats) -> Floats:
    exponents: Floats = np.exp(values - values.max())
    return np.asarray(exponents / exponents.sum(), np.float32)


def _mismatch(expectation: Expectation) -> str | None:
    scores = [spec for spec in expectation.outputs if not set(spec.names) & set(_IGNORED)]
    if len(scores) != 1 or not _is_list(scores[0]):
        return outputs_text(expectation.outputs)
    return label_mismatch(scores[0].shape[1], expectation.labels)


def _is_list(spec: TensorSpec) -> bool:
    is_list = spec.matches(1, None) or spec.matches(1, None, 1, 1)
    return is_list and spec.shape[1] != 1 and (spec.dtype.startswith("float") or spec.dtype == "uint8")


CLASSIFICATION = Decoder(
    type="classification",
    task="classification",
    expects="one output [1, classes], float or uint8",
    mismatch=_mismatch,
    read=_read,
)
