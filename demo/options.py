"""What `make run` was asked for."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.samples import SAMPLES

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgex-vision"
MOST_CAMERAS = 64  # on one machine, beside everything else


@dataclass(frozen=True, slots=True)
class Ports:
    """EdgeX's own, so that everything that knows EdgeX finds its way."""

    broker: int = 1883
    data: int = 59880
    metadata: int = 59881
    command: int = 59882
    keeper: int = 59890
    camera: int = 59985
    inference: int = 59745

    def shifted(self, by: int) -> "Ports":
        return Ports(*(getattr(self, name) + by for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Options:
    """One run."""

    sample: str  # whose video and model are taken where no other is named
    source: str
    model: str
    model_type: str
    camera: str  # its name; several have a number behind it
    cameras: int
    fps: float
    seconds: float  # 0 runs until Ctrl-C
    ports: Ports
    folder: Path  # state and logs of this run
    cache: Path  # what is pulled once

    @property
    def camera_names(self) -> list[str]:
        """Of the camera devices."""
        if self.cameras == 1:
            return [self.camera]
        return [f"{self.camera}-{number}" for number in range(1, self.cameras + 1)]


def parse_options(argv: Sequence[str]) -> Options:
    """From the command line; `make run` passes SOURCE, MODEL and the like."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--sample", choices=SAMPLES, default="street", help="video and model, where you name no other")
    parser.add_argument("--source", default="", help="video file, folder, rtsp://, http://, /dev/video0 or pattern:")
    parser.add_argument("--model", default="", help="model file or folder")
    parser.add_argument("--model-type", default="", help="the decoder for a model that does not say its type")
    parser.add_argument("--camera", default="", help="name of the camera device; that of the sample if not said")
    parser.add_argument("--cameras", type=int, default=1, help="so many cameras show the source")
    parser.add_argument("--fps", type=float, default=5.0, help="frames per second on the bus")
    parser.add_argument("--seconds", type=float, default=0.0, help="end by itself after so long")
    parser.add_argument("--port-shift", type=int, default=0, help="add this to every port")
    parser.add_argument("--folder", type=Path, default=ROOT / "run", help="state and logs of this run")
    known = parser.parse_args(argv)
    if not 1 <= known.cameras <= MOST_CAMERAS:
        parser.error(f"--cameras {known.cameras}: 1 to {MOST_CAMERAS} expected")
    return Options(
        sample=known.sample,
        source=known.source,
        model=known.model,
        model_type=known.model_type,
        camera=known.camera or known.sample,
        cameras=known.cameras,
        fps=known.fps,
        seconds=known.seconds,
        ports=Ports().shifted(known.port_shift),
        folder=known.folder.resolve(),
        cache=CACHE,
    )
