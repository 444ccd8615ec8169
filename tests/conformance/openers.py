"""Both services under test as processes on any core, and cameras for them."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conformance.app_process import METER, App, OpenApp, configure, run_app, save_meter
from tests.conformance.camera_profile import PROFILE
from tests.conformance.keys import delete
from tests.conformance.peers import AddCamera, Core, Device, Metadata, OpenDevice, until


@contextlib.contextmanager
def device_opener(core: Core, folders: pytest.TempPathFactory) -> Iterator[OpenDevice]:
    """Starts device-camera of a name of its own: `with open_device("name", DEVICE_MAXCMDOPS="2") as device`.

    In the end nothing of them is left in the core: a gateway outlives the tests, and their next run has the same names.
    """
    keys: set[str] = set()

    @contextlib.contextmanager
    def run(name: str, *flags: str, waits: bool = False, **environ: str) -> Iterator[Device]:
        key, instance = f"device-{name}", "".join(flag.removeprefix("-i=") for flag in flags if flag.startswith("-i="))
        log = folders.mktemp(name) / "log"
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
        keys.add(key)
        try:
            url = "" if waits else until(lambda: _address(core, key, process, log), f"{key} is up", 60)
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

    yield run
    for key in keys:
        delete(core, key)
        Metadata(core.metadata).delete(f"deviceservice/name/{quote(key, safe='')}")


def _address(core: Core, key: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.poll() is None, log.read_text()
    if "device-camera started" not in log.read_text():
        return ""
    return str(Metadata(core.metadata).get(f"deviceservice/name/{quote(key, safe='')}")["service"]["baseAddress"])


@contextlib.contextmanager
def cameras(metadata: Metadata, device: Device, unique: str) -> Iterator[AddCamera]:
    """Adds a camera with a profile of its own and waits until it answers; both are taken away in the end."""
    added: list[str] = []

    def add(suffix: str = "", *, to: Device = device, profile: dict[str, Any] = PROFILE, **fields: Any) -> str:
        name = f"{unique}{suffix}"
        result = metadata.add("deviceProfile", {**profile, "name": name}, key="profile")
        assert result["statusCode"] == 201, result
        added.append(name)
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
        until(lambda: to.get(name, "Source").status_code != 404, f"{name} is known")
        return name

    try:
        yield add
    finally:
        for name in added:
            metadata.delete(f"device/name/{quote(name, safe='')}")
            metadata.delete(f"deviceprofile/name/{quote(name, safe='')}")


def app_opener(core: Core, folders: pytest.TempPathFactory) -> OpenApp:
    """Starts app-inference with -cp: `with open_app("name", "-r", sections={...}, SERVICE_HOST="x") as app`.

    Its keys are taken out of core-keeper in the end.
    """

    @contextlib.contextmanager
    def run(name: str, *flags: str, sections: dict[str, Any] | None = None, **environ: Any) -> Iterator[App]:
        folder = folders.mktemp(name)
        save_meter(folder / "models")
        save_meter(folder / "models", "labour", trips=50_000)
        host, port = core.broker
        changes = {"MessageBus": {"Host": host, "Port": port}, "Writable": {"Pipelines": {"lamps": METER}}}
        configure(folder, changes, sections or {})
        key = name if name.startswith("app-") else f"app-{name}"
        try:
            with run_app(folder, f"-cp=keeper.{core.keeper}", *flags, key=key, **environ) as running:
                yield running
        finally:
            delete(core, key)

    return run


def provisioning(files: Path) -> dict[str, str]:
    """The settings that have a device service take in what lies in the folders of `files`."""
    return {
        "DEVICE_PROFILESDIR": str(files / "profiles"),
        "DEVICE_DEVICESDIR": str(files / "devices"),
        "DEVICE_PROVISIONWATCHERSDIR": str(files / "watchers"),
    }
