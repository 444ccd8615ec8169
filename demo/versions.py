"""Versions of the driver's model for the tutorial on updates: a good one, and three that must not stay.

`python -m demo.versions` puts them beside the run that is going on, into run/versions: each a folder that
`edgex-models add` takes, a real network, made from the sample's own with OpenVINO.
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
from app_inference.models.repository import Repository
from app_inference.models.version import StoredModel
from app_inference.rollout.selftest import make_golden
from edgex_kit.wire.errors import EdgexError, Invalid
from openvino import opset13 as op

from demo.options import CACHE, ROOT
from demo.samples import SAMPLES, sample_video

SAMPLE = SAMPLES["driver"]
SCORES = "classificators"  # the network's output that says how sure it is of each anchor
SANE_PICTURES = 200  # after so many a forgetful version loses its mind
TOLERANCE = 0.02  # of golden results: FP16 and FP32 round differently


@dataclass(frozen=True, slots=True)
class Change:
    """A version, and what makes it another one."""

    version: str
    release: int
    description: str
    alter: Callable[[ov.Model], None]
    has_golden: bool = True


def as_it_is(_network: ov.Model) -> None:
    """The network stays as it is: as OpenVINO IR it is ready sooner."""


def shuffle_weights(network: ov.Model) -> None:
    """The right shapes, the right values, in the wrong order: what a mixed-up export looks like."""
    order = np.random.default_rng(0)
    for node in network.get_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        weights = _constant_behind(node.input_value(1))
        mixed = order.permutation(weights.data.ravel()).reshape(weights.data.shape)
        weights.output(0).replace(op.constant(mixed, dtype=weights.data.dtype).output(0))


def go_mad_later(network: ov.Model) -> None:
    """It counts its pictures, and from one on is sure of every anchor: no test before that can know."""
    count = op.read_value(op.constant(np.zeros(1, np.float32)), "pictures", ov.Type.f32, ov.PartialShape([1]))
    counted = op.add(count, op.constant(np.ones(1, np.float32)))
    is_mad = op.convert(op.greater(counted, op.constant(np.array([SANE_PICTURES], np.float32))), "f32")
    result = network.output(SCORES).node
    sane = result.input_value(0)
    scores = op.add(sane, op.multiply(is_mad, op.constant(np.array([1e3], np.float32))))
    scores.output(0).set_names({SCORES})
    result.input(0).replace_source_output(scores.output(0))
    network.add_sinks([op.assign(counted, "pictures")])


CHANGES = (
    Change("0.7.0", 2, "The same network as OpenVINO IR, with a golden picture", as_it_is),
    Change("0.8.0", 3, "Wrong weights, and a golden picture that tells", shuffle_weights),
    Change("0.8.1", 4, "Wrong weights, and no golden picture", shuffle_weights, has_golden=False),
    Change("0.9.0", 5, f"Goes mad after {SANE_PICTURES} pictures", go_mad_later),
)


def make_versions(repository: Repository, video: Path, folder: Path) -> None:
    """Write every version into `folder`; raises EdgexError."""
    sample = repository.version(SAMPLE.model, find(SAMPLE.model).manifest.version)
    folder.mkdir(parents=True)
    picture = folder / "driver.png"
    _save_first_frame(video, picture)
    with load_model(sample) as model:  # what the serving version says of a picture is what others must say of it
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
    """That of the sample's model, about other files, which `edgex-models add` lists."""
    assert sample.manifest is not None
    said = msgspec.structs.replace(
        sample.manifest,
        version=change.version,
        release=change.release,
        description=change.description,
        files=[],
        golden=[golden] if change.has_golden else [],
    )
    return manifest_text(said)


def _save_first_frame(video: Path, target: Path) -> None:
    capture = cv2.VideoCapture(str(video))
    is_there, frame = capture.read()
    capture.release()
    if not is_there:
        raise Invalid(f"{video}: no picture in it")
    cv2.imwrite(str(target), frame)


def _constant_behind(value: ov.Output) -> ov.Node:
    """The weights a convolution uses: behind the reshaping and converting that belongs to them."""
    node = value.get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return node


def _from_here(folder: Path) -> Path:
    """As short as a command typed here can take it."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.versions", description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "run", help="folder of the run; run/ if not said")
    run = parser.parse_args(argv).run
    folder = run / "versions"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        make_versions(Repository(run / "models"), sample_video(SAMPLE, CACHE), folder)
        for change in CHANGES:
            print(f"{_from_here(folder / change.version)}  {change.description}")
    except EdgexError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
