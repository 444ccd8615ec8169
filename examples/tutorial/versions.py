"""`python -m examples.tutorial.versions`: versions of the driver's model, one good, three bad.

Each is a folder below run/versions that `edgex-models add` takes: a real network, changed with OpenVINO.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import openvino as ov
from app_inference.inference.model import load_model
from app_inference.models.catalogue import find
from app_inference.models.manifest import FILE_NAME, Golden, manifest_text
from app_inference.models.repository import Repository, StoredModel
from app_inference.rollout.golden import make_golden
from edgex_kit.wire.errors import EdgexError, Invalid
from openvino import opset13 as op

from demo.options import CACHE, ROOT
from demo.samples import SAMPLES, sample_video

SAMPLE = SAMPLES["driver"]
SCORES = "classificators"  # the output with the score of each anchor
SANE_PICTURES = 200  # after these, the version 0.9.0 reports a face everywhere
TOLERANCE = 0.02  # of golden results: FP16 and FP32 round differently


@dataclass(frozen=True, slots=True)
class Change:
    """A version, and what makes it another one."""

    version: str
    description: str
    alter: Callable[[ov.Model], None]
    has_golden: bool = True


def keep(_network: ov.Model) -> None:
    """The same network; as OpenVINO IR it loads faster."""


def shuffle_weights(network: ov.Model) -> None:
    """The right shapes and values in the wrong order, as after a wrong export."""
    order = np.random.default_rng(0)
    for node in network.get_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        weights = _constant_behind(node.input_value(1))
        mixed = order.permutation(weights.data.ravel()).reshape(weights.data.shape)
        weights.output(0).replace(op.constant(mixed, dtype=weights.data.dtype).output(0))


def fail_later(network: ov.Model) -> None:
    """Count the pictures, and report every anchor after SANE_PICTURES: no earlier test can notice."""
    count = op.read_value(op.constant(np.zeros(1, np.float32)), "pictures", ov.Type.f32, ov.PartialShape([1]))
    counted = op.add(count, op.constant(np.ones(1, np.float32)))
    is_broken = op.convert(op.greater(counted, op.constant(np.array([SANE_PICTURES], np.float32))), "f32")
    result = network.output(SCORES).node
    sane = result.input_value(0)
    scores = op.add(sane, op.multiply(is_broken, op.constant(np.array([1e3], np.float32))))
    scores.output(0).set_names({SCORES})
    result.input(0).replace_source_output(scores.output(0))
    network.add_sinks([op.assign(counted, "pictures")])


CHANGES = (
    Change("0.7.0", "The same network as OpenVINO IR, with a golden picture", keep),
    Change("0.8.0", "Wrong weights, and a golden picture that shows it", shuffle_weights),
    Change("0.8.1", "Wrong weights, and no golden picture", shuffle_weights, has_golden=False),
    Change("0.9.0", f"Fails after {SANE_PICTURES} pictures", fail_later),
)


def make_versions(repository: Repository, video: Path, folder: Path) -> None:
    """Write every version into `folder`; raises EdgexError."""
    sample = repository.version(SAMPLE.model, find(SAMPLE.model).manifest.version)
    folder.mkdir(parents=True)
    picture = folder / "driver.png"
    _save_first_frame(video, picture)
    with load_model(sample) as model:  # the result of the serving version is the expected one
        golden = make_golden(model, folder, picture, TOLERANCE)
    for change in CHANGES:
        place = folder / change.version
        place.mkdir()
        network = ov.Core().read_model(sample.path)
        change.alter(network)
        ov.save_model(network, place / "model.xml")
        if change.has_golden:
            shutil.copytree(folder / "golden", place / "golden")
        (place / FILE_NAME).write_text(_manifest(sample, change, golden), encoding="utf-8")


def _manifest(sample: StoredModel, change: Change, golden: Golden) -> str:
    """The manifest of the sample's model without files; `edgex-models add` lists them."""
    assert sample.manifest is not None
    changed = msgspec.structs.replace(
        sample.manifest,
        version=change.version,
        description=change.description,
        files=[],
        golden=[golden] if change.has_golden else [],
    )
    return manifest_text(changed)


def _save_first_frame(video: Path, target: Path) -> None:
    capture = cv2.VideoCapture(str(video))
    is_there, frame = capture.read()
    capture.release()
    if not is_there:
        raise Invalid(f"{video}: no picture in it")
    cv2.imwrite(str(target), frame)


def _constant_behind(value: ov.Output) -> ov.Node:
    """The weights of a convolution, in front of their reshaping and conversion."""
    node = value.get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return node


def _from_here(folder: Path) -> Path:
    """Relative to the current folder where that is possible."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.tutorial.versions", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "run/versions", help="where they are written")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of the models")
    known = parser.parse_args(argv)
    folder = known.folder
    shutil.rmtree(folder, ignore_errors=True)
    try:
        make_versions(Repository(known.models), sample_video(SAMPLE, CACHE), folder)
        for change in CHANGES:
            print(f"{_from_here(folder / change.version)}  {change.description}")
    except EdgexError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
