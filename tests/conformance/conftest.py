"""A service under test and a core to test it with, known by their addresses alone.

The core is the stand-in, or the one that five variables name: EDGEX_CORE_KEEPER, EDGEX_CORE_METADATA,
EDGEX_CORE_DATA and EDGEX_CORE_COMMAND (URLs) and EDGEX_BROKER (host:port). The tests are the same.
"""

import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as paho
import pytest
from peers import PROFILE, AddCamera, Bus, Core, Device, Metadata, OpenDevice, until


@pytest.fixture(scope="session")
def core(request: pytest.FixtureRequest) -> Core:
    if os.environ.get("EDGEX_CORE_KEEPER"):
        keeper, metadata, data, command = (
            os.environ[f"EDGEX_CORE_{name}"].rstrip("/") for name in ("KEEPER", "METADATA", "DATA", "COMMAND")
        )
        host, _, port = os.environ["EDGEX_BROKER"].rpartition(":")
        return Core(keeper, metadata, data, command, (host, int(port)))
    edgex = request.getfixturevalue("edgex")
    return Core(edgex.keeper, edgex.metadata, edgex.data, edgex.command, (edgex.broker.host, edgex.broker.port))


@pytest.fixture
def bus(core: Core) -> Iterator[Bus]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect(*core.broker)
    client.loop_start()
    yield Bus(client)
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def metadata(core: Core) -> Metadata:
    return Metadata(core.metadata)


@pytest.fixture
def free_port() -> int:
    """A port nobody uses at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def open_device(core: Core, tmp_path_factory: pytest.TempPathFactory) -> OpenDevice:
    """Starts device-camera of a name of its own: `with open_device("name", DEVICE_MAXCMDOPS="2") as device`."""

    @contextlib.contextmanager
    def run(name: str, *flags: str, waits: bool = False, **environ: str) -> Iterator[Device]:
        key, instance = f"device-{name}", "".join(flag.removeprefix("-i=") for flag in flags if flag.startswith("-i="))
        log = tmp_path_factory.mktemp(name) / "log"
        command = [sys.executable, "-m", "device_camera", f"-cp=keeper.{core.keeper}", "-r", f"-sk={key}", *flags]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stderr=out,
                env={
                    **os.environ,
                    "EDGEX_SECURITY_SECRET_STORE": "false",
                    "SERVICE_PORT": "0",
                    "MESSAGEBUS_OPTIONAL_CLIENTID": f"{key}-{uuid.uuid4().hex[:6]}",
                    "DEVICE_DEVICESDIR": "",
                    **environ,
                },
            )
        key = f"{key}_{instance}" if instance else key
        try:
            url = "" if waits else until(lambda: _address(core, key, process, log), f"{key} is up", 20)
            yield Device(key, url, process, log)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()
                process.wait()
            print(log.read_text())  # noqa: T201 - pytest shows it when the test fails

    return run


def _address(core: Core, key: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.poll() is None, log.read_text()
    if "device-camera started" not in log.read_text():
        return ""
    return str(Metadata(core.metadata).get(f"deviceservice/name/{quote(key, safe='')}")["service"]["baseAddress"])


@pytest.fixture(scope="session")
def device(open_device: OpenDevice) -> Iterator[Device]:
    """A device service for all tests that need nothing special."""
    with open_device(f"cams-{uuid.uuid4().hex[:6]}") as running:
        yield running


@pytest.fixture
def add_camera(metadata: Metadata, device: Device, unique: str) -> Iterator[AddCamera]:
    """Adds a camera with a profile of its own and waits until it answers; both are taken away in the end."""
    added: list[str] = []

    def add(suffix: str = "", *, to: Device = device, profile: dict[str, Any] = PROFILE, **fields: Any) -> str:
        name = f"{unique}{suffix}"
        result = metadata.add("deviceProfile", {**profile, "name": name}, key="profile")
        assert result["statusCode"] == 201, result
        item = {
            "name": name,
            "serviceName": to.service,
            "profileName": name,
            "adminState": "UNLOCKED",
            "operatingState": "UP",
            "protocols": {"Camera": {"Source": "pattern:?fps=20"}},
            **fields,
        }
        result = metadata.add("device", item)
        assert result["statusCode"] == 201, result
        added.append(name)
        until(lambda: to.get(name, "Source").status_code != 404, f"{name} is known")
        return name

    yield add
    for name in added:
        metadata.delete(f"device/name/{quote(name, safe='')}")
        metadata.delete(f"deviceprofile/name/{quote(name, safe='')}")


@pytest.fixture
def camera(add_camera: AddCamera) -> str:
    """A camera that streams a test pattern."""
    return add_camera()
