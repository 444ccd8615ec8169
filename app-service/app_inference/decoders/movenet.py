"""MoveNet for one person: [1, 1, joints, 3], y, x in 0..1 of the input and a score a joint."""

import numpy as np

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TypeDefaults
from app_inference.decoders.steps import label_mismatch, only_shape, only_values
from app_inference.vision.detections import Detections, Floats, Keypoints
from app_inference.vision.resize import WINDOW, Fit


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Keypoints:
    joints = only_values(outputs)[0]
    joints = np.where(np.isfinite(joints).all(1, keepdims=True), joints, np.float32(0))
    scores = np.clip(joints[:, 2], 0, 1)
    sure = scores >= options.confidence
    if not sure.any():
        return Keypoints(Detections.empty(), np.zeros((0, len(joints), 2), np.float32), scores[None][:0])
    points = fit.points_to_original(joints[:, [1, 0]] * np.array(fit.input_size, np.float32))
    return Keypoints(_person(points[sure], scores[sure]), points[None], scores[None])


def _person(points: Floats, scores: Floats) -> Detections:
    """The box around the sure joints; the model itself gives none."""
    box = np.concatenate((points.min(0), points.max(0)))[None]
    return Detections(box, scores.mean(keepdims=True), np.zeros(1, np.int32))


def _mismatch(expectation: Expectation) -> str | None:
    return only_shape(expectation, 1, 1, None, 3) or label_mismatch(1, expectation.labels)


MOVENET = Decoder(
    type="movenet",
    task="keypoints",
    expects="one float output [1, 1, joints, 3]",
    mismatch=_mismatch,
    read=_read,
    defaults=TypeDefaults(resize=WINDOW, color="RGB", labels=("person",), options=DecodeOptions(confidence=0.3)),
)
