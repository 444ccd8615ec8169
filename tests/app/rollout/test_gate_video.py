"""Rollouts of a real model while a real video is shown: the same weights stay, and damaged ones go back."""

import itertools
import time
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
import yaml
from app_inference.pipeline.frame import Frame
from app_inference.rollout.desired import ObserveOptions
from openvino import opset13 as op

from tests.app import updating
from tests.app.updating import MODEL, open_site

OBSERVE = ObserveOptions(min_frames=60, hold_seconds=0)


def write(root: Path, version: str, network: ov.Model) -> None:
    folder = root / MODEL / version
    folder.mkdir(parents=True)
    ov.save_model(network, folder / "model.xml", compress_to_fp16=False)
    manifest = {
        "schema": "vision.model/1",
        "name": MODEL,
        "version": version,
        "type": "fastestdet",
        "labels": [f"label-{number}" for number in range(80)],
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))


def damaged(path: Path) -> ov.Model:
    """The outputs of one convolution in another order."""
    network = ov.Core().read_model(path)
    weights = [it for it in network.get_ordered_ops() if it.get_type_name() == "Constant" and len(it.shape) == 4]
    middle = weights[len(weights) // 2]
    mixed = np.random.default_rng(1).permutation(middle.get_data())
    middle.output(0).replace(op.constant(mixed).output(0))
    return network


def show(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every camera shows the video, every second frame, over and over."""
    video, jpegs = cv2.VideoCapture(str(path)), []
    for number in itertools.count():
        is_read, picture = video.read()
        if not is_read:
            break
        if number % 2 == 0:
            jpegs.append(cv2.imencode(".jpg", picture)[1].tobytes())

    def frame(camera: str, seq: int) -> Frame:
        at = seq + 97 * ord(camera[0])
        return Frame(camera, f"{camera}-{seq}", seq, time.time_ns(), jpegs[at % len(jpegs)], "image/jpeg")

    monkeypatch.setattr(updating, "frame", frame)


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.timeout(600)
async def test_the_same_weights_stay_and_damaged_ones_go_back(
    tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media / "models" / "FastestDet.onnx"
    sound = ov.Core().read_model(path)
    for version, network in (("1.0.0", sound), ("1.1.0", sound), ("2.0.0", damaged(path))):
        write(tmp_path, version, network)
    show(media / "video" / "intel_one-by-one-person-detection.mp4", monkeypatch)
    async with open_site(tmp_path, pause=0.05) as site:
        site.request("1.1.0", observe=OBSERVE)
        await site.settled(250)
        assert (site.rollout.record.active, site.rollout.judgement.values["agreement"]) == ("1.1.0", 1.0)
        site.request("2.0.0", 2, observe=OBSERVE)
        await site.settled(250)
        assert site.rollout.record.refused == "2.0.0"
        assert site.rollout.judgement.values["comparedFrames"] < 300
        assert not site.street.lost
