"""What would go wrong is said before anything is started: one line that names it and says what to do."""

import os
import socket
import subprocess
import sys

from edgex_kit.wire.errors import Invalid, Unavailable

from demo.credentials import Login, login_environment
from demo.options import ROOT, Options, Ports

_OWNERS = {
    "broker": "the message broker (another MQTT broker? stop it, for example `systemctl stop mosquitto`)",
    "data": "core-data",
    "metadata": "core-metadata",
    "command": "core-command",
    "keeper": "core-keeper",
    "camera": "device-camera",
    "inference": "app-inference and its page",
}


def check_ports(ports: Ports) -> None:
    """Raise Unavailable for the first port somebody else listens on."""
    for name in Ports.__slots__:
        port = getattr(ports, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                what = f"port {port} is in use, but {_OWNERS[name]} needs it"
                raise Unavailable(f"{what}; stop what uses it, or give another SHIFT= to `make run`") from error


def check_things(source: str, login: Login | None, options: Options) -> None:
    """Open what was named once, in a process of its own, so that this one stays small. Raises Invalid.

    Samples are known to be whole and to run: that is not done again at every start.
    """
    if not (options.source or options.model):
        return
    named = source if options.source else ""
    models = str(options.cache / "models")
    command = [sys.executable, "-m", "demo.check", named, options.model, options.model_type, models]
    environ = {**os.environ, **login_environment(login)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environ)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["the camera or the model could not be checked"]
        raise Invalid(lines[-1].replace("--model-type", "MODEL_TYPE="))
