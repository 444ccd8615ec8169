"""Errors of an inference, in one line."""

from typing import Any

import numpy as np
import pytest
from app_inference.decoders import TensorSpec
from app_inference.errors import InferenceFailed
from app_inference.inference.session import Session, short_cause
from app_inference.models.resolution import resolve, state
from app_inference.vision.image import image_from_pixels
from numpy.typing import NDArray

OUTPUTS = [TensorSpec(("scores", "logits"), (1, 3), "float32")]
RESOLVED = resolve("m", state(None, {}, {"type": "classification"}), OUTPUTS, (8, 8))


class Broken:
    """A device that is gone, as OpenVINO reports it."""

    def infer(self, pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
        raise RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:223:\n[GPU] Device is lost\n\n")


def test_a_device_that_fails_is_reported_and_nothing_else() -> None:
    session = Session(RESOLVED, OUTPUTS, Broken())
    with pytest.raises(InferenceFailed, match=r"^inference failed: \[GPU\] Device is lost$"):
        session.analyse(image_from_pixels(np.zeros((8, 8, 3), np.uint8)))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Exception from a.cpp:1:\nException from b.cpp:2:\nUnable to read the model", "Unable to read the model"),
        (
            "Check 'x' failed at y.cpp:7:\nir: Could not open the file: \"/opt/secret/m.xml\"\n",
            'ir: Could not open the file: "m.xml"',
        ),
        ("Check 'x > 0' failed at y.cpp:7\n", "Check 'x > 0' failed at y.cpp:7"),
        ("", "RuntimeError"),
        (
            'Cannot load library "/usr/lib/x86_64/libgpu.so": libOpenCL.so.1: cannot open',
            'Cannot load library "libgpu.so": libOpenCL.so.1: cannot open',
        ),
    ],
)
def test_openvinos_report_is_cut_to_its_cause(text: str, cause: str) -> None:
    assert short_cause(RuntimeError(text)) == cause


def test_a_very_long_cause_is_cut() -> None:
    assert len(short_cause(RuntimeError("x" * 5000))) == 300
