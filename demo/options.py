"""What `make run` was asked for, and the cameras that follow from it."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import yaml
from edgex_kit.wire.errors import Unavailable

from demo.samples import SAMPLES

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgex-vision"
MOST_CAMERAS = 64  # on one machine, together with everything else
SECRET = "camera"  # noqa: S105 - the secret's name

Login = tuple[str, str]  # user, password


@dataclass(frozen=True, slots=True)
class Ports:
    """EdgeX's own, so that EdgeX's tools work without options."""

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

    sample: str  # its video and model are the defaults
    source: str
    model: str
    model_type: str
    camera_names: list[str]
    fps: float
    seconds: float  # 0 runs until Ctrl-C
    ports: Ports
    folder: Path  # state and logs of this run
    models: Path
    model_state: Path  # what app-inference remembers of updates
    cache: Path  # what is pulled once


def parse_options(argv: Sequence[str]) -> Options:
    """From the command line; `make run` passes SOURCE, MODEL and the like."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--sample", choices=SAMPLES, default="street", help="default video and model")
    parser.add_argument("--source", default="", help="video file, folder, rtsp://, http://, /dev/video0 or pattern:")
    parser.add_argument("--model", default="", help="model file or folder, or a name in the models folder")
    parser.add_argument("--model-type", default="", help="the decoder, for a model that does not name it")
    parser.add_argument("--camera", default="", help="name of the camera device; the sample's name by default")
    parser.add_argument("--cameras", type=int, default=1, help="number of cameras that show the source")
    parser.add_argument("--fps", type=float, default=5.0, help="frames per second on the bus")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after this time")
    parser.add_argument("--port-shift", type=int, default=0, help="add this to every port")
    parser.add_argument("--folder", type=Path, help="state and logs of this run; emptied at the start")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of the models")
    known = parser.parse_args(argv)
    if not 1 <= known.cameras <= MOST_CAMERAS:
        parser.error(f"--cameras {known.cameras}: 1 to {MOST_CAMERAS} expected")
    name, shift, models = known.camera or known.sample, known.port_shift, known.models.resolve()
    folder = known.folder or ROOT / (f"run.{shift}" if shift else "run")
    return Options(
        sample=known.sample,
        source=known.source,
        model=known.model,
        model_type=known.model_type,
        camera_names=[name] if known.cameras == 1 else [f"{name}-{it}" for it in range(1, known.cameras + 1)],
        fps=known.fps,
        seconds=known.seconds,
        ports=Ports().shifted(shift),
        folder=folder.resolve(),
        models=models,
        model_state=folder.resolve() / "models" if shift else models / ".state",  # two runs must not share it
        cache=CACHE,
    )


def split_login(source: str) -> tuple[str, Login | None]:
    """The source without user and password, and these."""
    parts = urlsplit(source)
    if not parts.username:
        return source, None
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, (unquote(parts.username), unquote(parts.password or ""))


def allowed(options: Options) -> dict[str, str]:
    """Environment of device-camera that allows what was typed, and the sample video."""
    host = urlsplit(options.source).hostname if "://" in options.source else None
    paths = f"{options.cache}, {Path(options.source.removeprefix('file:') or '.').absolute()}"
    return {
        "DRIVER_ALLOWEDHOSTS": f"*, {host}" if host else "*",
        "DRIVER_ALLOWEDPATHS": paths if paths.count(",") == 1 else "*",
    }


def write_cameras(options: Options, source: str, login: Login | None) -> None:
    """Write a device file, which device-camera provisions. User and password are not in it."""
    camera = {"Source": source, "Fps": options.fps, **({"SecretName": SECRET} if login else {})}
    devices = [
        {"name": name, "profileName": "vision-camera", "labels": ["demo"], "protocols": {"Camera": dict(camera)}}
        for name in options.camera_names
    ]
    folder = options.folder / "devices"
    folder.mkdir(parents=True)
    (folder / "cameras.yaml").write_text(yaml.safe_dump({"deviceList": devices}), encoding="utf-8")


async def store_login(camera_url: str, login: Login) -> None:
    """Store user and password as a secret of device-camera. Raises Unavailable."""
    data = [{"key": "username", "value": login[0]}, {"key": "password", "value": login[1]}]
    body = {"apiVersion": "v3", "secretName": SECRET, "secretData": data}
    answer = await asyncio.to_thread(requests.post, f"{camera_url}/api/v3/secret", json=body, timeout=5)
    if answer.status_code != requests.codes.created:
        raise Unavailable(f"device-camera did not accept the camera's credentials: {answer.text}")
