"""What a model costs, measured in a process of its own."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from app_inference.errors import ImageBroken, ModelRejected
from app_inference.inference.benchmark import FRAME, Job, measure, pictures

BuildModel = Callable[..., Path]


@pytest.mark.goal(46)
def test_a_model_is_measured(build_mean_color: BuildModel, tmp_path: Path) -> None:
    path = build_mean_color()
    cv2.imwrite(str(tmp_path / "one.jpg"), np.zeros((90, 160, 3), np.uint8))
    cost = measure(
        Job(str(path), {"type": "classification"}, precision="f32", seconds=0.1, pictures=(str(tmp_path / "one.jpg"),))
    )
    assert (cost.name, cost.precision, cost.devices) == ("model", "FP32", ("CPU",))
    assert cost.frames >= 20
    assert 0 < cost.p50_ms <= cost.p99_ms
    assert cost.frames_per_second > 0
    assert 1 < cost.memory_mb < 1000
    assert cost.bytes == path.stat().st_size + path.with_suffix(".bin").stat().st_size


def test_what_cannot_be_measured_is_said(build_mean_color: BuildModel, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="no model type given"):
        measure(Job(str(build_mean_color())))
    with pytest.raises(ModelRejected, match="no such file or folder"):
        measure(Job(str(tmp_path / "nowhere.xml")))


def test_a_picture_is_made_up_where_none_is_given(tmp_path: Path) -> None:
    (image,) = pictures([])
    assert (image.width, image.height) == FRAME
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageBroken):
        pictures([tmp_path / "a.jpg"])
