"""Anomaly maps: [1, 1, h, w] of how unusual each place is, in the model's own units.

Newer exports of anomalib normalise in the graph and output `pred_score`, `pred_label`, `pred_mask` besides
`anomaly_map`; of those the score is used. A map alone is normalised here: 0.5 is the threshold it was trained to.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec, TypeDefaults
from app_inference.decoders.steps import outputs_text
from app_inference.vision.detections import Anomaly, Floats
from app_inference.vision.resize import Fit

_MAP, _SCORE = "anomaly_map", "pred_score"


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Anomaly:
    if _MAP in outputs and _SCORE in outputs:
        heat, score = _plane(outputs[_MAP]), float(outputs[_SCORE].reshape(-1)[0])
    else:
        raw = _plane(next(iter(outputs.values())))
        heat = _normalised(raw, options.pixel_threshold, options)
        score = float(_normalised(raw.max(), options.image_threshold, options))
    score = score if np.isfinite(score) else 0.0
    return Anomaly(score, score >= options.confidence, np.clip(heat, 0, 1), fit)


def _normalised(values: Any, threshold: float, options: DecodeOptions) -> Any:
    return np.clip((values - threshold) / options.normalization_scale + 0.5, 0, 1).astype(np.float32)


def _plane(raw: NDArray[Any]) -> Floats:
    """(h, w), what is no number taken for usual."""
    return np.nan_to_num(raw.reshape(raw.shape[-2:]).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _mismatch(expectation: Expectation) -> str | None:
    named = {name: spec for spec in expectation.outputs for name in spec.names}
    if _MAP in named and _SCORE in named:
        return None if _is_map(named[_MAP]) else outputs_text(expectation.outputs)
    is_alone = len(expectation.outputs) == 1 and _is_map(expectation.outputs[0])
    return None if is_alone else outputs_text(expectation.outputs)


def _is_map(spec: TensorSpec) -> bool:
    return spec.matches(1, 1, None, None) and spec.dtype.startswith("float")


ANOMALY = Decoder(
    type="anomaly",
    task="anomaly",
    expects=f"one float map [1, 1, h, w], or outputs {_MAP} [1, 1, h, w] and {_SCORE}",
    mismatch=_mismatch,
    read=_read,
    defaults=TypeDefaults(color="RGB"),
)
