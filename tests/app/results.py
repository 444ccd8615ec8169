"""Results as tests need them, without a model."""

import time
from typing import Any

from app_inference.inference.model import ModelFacts
from app_inference.pipeline.results import FrameResult, ImageFacts, StageTimes
from app_inference.stages.stage import DetectedObject

LAMP = DetectedObject("lamp", 0, 0.75, (0, 0, 1, 1), (0, 0, 1, 1), ())


def a_result(number: int = 1, camera: str = "gate", pipeline: str = "lamps", **fields: Any) -> FrameResult:
    """The result of frame f-`number`, with one lamp in it."""
    known: dict[str, Any] = {
        "schema": "vision.detections/1",
        "frame_id": f"f-{number}",
        "seq": number,
        "capture_origin": "1",
        "received_origin": "2",
        "result_origin": str(time.time_ns()),
        "dropped_since_last": 0,
        "image": ImageFacts(64, 48, "image/jpeg"),
        "model": ModelFacts("meter", "1.0.0", "0123456789ab", "detection", "CPU", "FP32"),
        "timing_ms": StageTimes(1, 1, 4, 1, 7),
        "objects": (LAMP,),
    }
    return FrameResult(pipeline=pipeline, camera=camera, **{**known, **fields})
