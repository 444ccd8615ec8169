"""Check ports, camera and model before anything starts: one line names what is wrong and what to do.

`python -m demo.check SOURCE MODEL MODEL_TYPE MODELS_DIR` opens the camera and loads the model once, in a process of its
own, so that the memory this takes is freed again.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from edgex_kit.wire.errors import EdgexError, Invalid, Unavailable

from demo.options import ROOT, Login, Options, Ports
from demo.processes import command

_OWNERS = {
    "broker": "the message broker (another MQTT broker? stop it, for example `systemctl stop mosquitto`)",
    "data": "core-data",
    "metadata": "core-metadata",
    "command": "core-command",
    "keeper": "core-keeper",
    "camera": "device-camera",
    "inference": "app-inference and its page",
}
_USER, _PASSWORD = "DEMO_CAMERA_USER", "DEMO_CAMERA_PASSWORD"  # environment, which `ps` does not show


def check_ports(ports: Ports) -> None:
    """Raise Unavailable for the first port that is in use."""
    for name in Ports.__slots__:
        port = getattr(ports, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                what = f"port {port} is in use, but {_OWNERS[name]} needs it"
                raise Unavailable(f"{what}; stop what uses it, or give another SHIFT= to `make run`") from error


def check_named(source: str, login: Login | None, options: Options) -> None:
    """Try the camera and the model that the user named; samples are known to work. Raises Invalid."""
    if not (options.source or options.model):
        return
    arguments = (source if options.source else "", options.model, options.model_type, str(options.models))
    environ = {**os.environ, **({_USER: login[0], _PASSWORD: login[1]} if login else {})}
    done = subprocess.run(
        command("demo.check", *arguments), capture_output=True, text=True, check=False, cwd=ROOT, env=environ
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["the camera or the model could not be checked"]
        raise Invalid(lines[-1].replace("--model-type", "MODEL_TYPE="))


def _open_source(source: str) -> None:
    """Take one picture; raises EdgexError."""
    from device_camera.sources.base import Credentials, SourceOptions
    from device_camera.sources.factory import open_source, parse_source
    from device_camera.timing import ThreadClock

    user = os.environ.get(_USER)
    options = SourceOptions(credentials=Credentials(user, os.environ.get(_PASSWORD, "")) if user else None)
    with open_source(parse_source(source), options, ThreadClock()) as opened:
        while not opened.grab():
            pass
        opened.retrieve()


def _load_model(model: str, model_type: str, models: Path) -> None:
    """Load it as app-inference does; raises EdgexError."""
    from app_inference.inference.model import load_model
    from app_inference.models.repository import Repository

    load_model(Repository(models).find(model), {"type": model_type} if model_type else {}).close()


def main(source: str, model: str, model_type: str, models: str) -> int:
    """Empty names are not checked."""
    try:
        if source:
            _open_source(source)
        if model:
            _load_model(model, model_type, Path(models))
    except EdgexError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
