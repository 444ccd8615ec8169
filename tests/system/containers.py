"""The compose files as data, and our containers as processes.

Commands and environments are those of the compose file and the Dockerfiles. What only Docker provides is replaced: host
names by the loopback address, published ports by free ones, volumes by folders.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from edgex_standin.address import free_port

from tests.conftest import LOOPBACK, ROOT
from tests.processes import MARK

STACK = "docker-compose.edgex.yml"
SECURE = "docker-compose.edgex.secure.yml"
DEVICES = "docker-compose.devices.yml"
OURS = {"device-camera": "device-service", "app-inference": "app-service"}
CONFIGURATIONS = {
    "device-camera": ROOT / "device-service/device_camera/res/configuration.yaml",
    "app-inference": ROOT / "app-service/app_inference/res/configuration.yaml",
}
SCRIPTS = Path(sys.executable).parent


@functools.cache
def load(file: str) -> dict[str, Any]:
    """One compose file, shared by all tests."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return loaded


def services(file: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(file)["services"]
    return found


def dockerfile(service: str) -> str:
    return (ROOT / OURS[service] / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


@dataclass(frozen=True, slots=True)
class Container:
    """One of our services as its container starts it."""

    environment: dict[str, str]
    command: list[str]
    health_check: list[str]
    folder: Path  # the only place it may write below

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @contextlib.contextmanager
    def running(self) -> Iterator["subprocess.Popen[str]"]:
        """The process; its log is printed for a test that fails."""
        with self.log.open("w") as out:
            process = subprocess.Popen(
                self.command, cwd=self.folder / "cwd", env=self.environment, stdout=out, stderr=out, text=True
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            print(self.log.read_text())  # noqa: T201

    def is_healthy(self) -> bool:
        """The exit code of the container's health check."""
        done = subprocess.run(self.health_check, cwd=self.folder / "cwd", env=self.environment, timeout=10)
        return done.returncode == 0


def container(name: str, provider: str, folder: Path, environment: Mapping[str, str] | None = None) -> Container:
    """The container of one of our services, with `provider` as core-keeper and with further variables."""
    service = services(STACK)[name]
    for part in ("cwd", "tmp", "volumes"):
        (folder / part).mkdir(parents=True)
    image = dict(
        pair.split("=", 1)
        for line in re.findall(r"^ENV (.*)$", dockerfile(name), re.MULTILINE)
        for pair in line.split()
    )
    variables = {**image, **service["environment"], **(environment or {}), "SERVICE_PORT": str(free_port(LOOPBACK))}
    hosts = {other["hostname"] for other in services(STACK).values()}
    volumes = {volume: folder / "volumes" / volume.strip("/") for volume in _mounts(service)}
    for place in volumes.values():
        place.mkdir()
    variables = {
        key: LOOPBACK if value in hosts else str(volumes.get(value, value)) for key, value in variables.items()
    }
    variables |= {
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        MARK: os.environ[MARK],
    }
    program, *arguments = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", dockerfile(name), re.MULTILINE)[0])
    arguments += [word.replace("keeper.http://edgex-core-keeper:59890", provider) for word in service["command"]]
    assert f"-cp={provider}" in arguments
    _, check, *words = service["healthcheck"]["test"]
    return Container(variables, [_script(program), *arguments], [_script(check), *words], folder)


def _mounts(service: Mapping[str, Any]) -> list[str]:
    """Where a service's volumes are mounted."""
    return [entry.split(":")[1] for entry in service["volumes"] if not entry.startswith("/")]


def _script(name: str) -> str:
    found = shutil.which(name, path=str(SCRIPTS))
    assert found, f"{name} is not installed beside {sys.executable}"
    return found


def until(holds: Callable[[], bool], wait: float, what: str, process: "subprocess.Popen[Any]") -> None:
    """Wait up to `wait` seconds for something that a running process brings about."""
    deadline = time.monotonic() + wait
    while not holds():
        assert process.poll() is None, f"ended with {process.returncode} before it was {what}"
        assert time.monotonic() < deadline, f"not {what} after {wait:g} s"
        time.sleep(0.2)


def registry_status(keeper: str, name: str) -> str:
    """UP, DOWN, HALT, UNKNOWN; "absent" for a service that never registered."""
    answer = requests.get(f"{keeper}/api/v3/registry/serviceId/{name}", timeout=5)
    return str(answer.json()["registration"]["status"]) if answer.ok else "absent"
