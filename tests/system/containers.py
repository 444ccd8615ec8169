"""Our containers as processes.

What is theirs is taken from the compose file and the Dockerfiles. What only Docker can give is put in its place: names
of hosts become the loopback address, published ports become free ones, volumes become folders.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from edgex_standin.address import free_port

from tests.system.compose_files import STACK, entrypoint, image_environment, services

LOOPBACK = "127.0.0.1"
SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Container:
    """One of our services as its container starts it."""

    name: str
    environment: dict[str, str]
    command: list[str]
    health_check: list[str]
    folder: Path  # the only place it may write below

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.name}.log"

    @contextlib.contextmanager
    def running(self) -> Iterator["subprocess.Popen[str]"]:
        """The process; its log is shown when the test fails."""
        with self.log.open("w") as out:
            process = subprocess.Popen(
                self.command, cwd=self.folder / "cwd", env=self.environment, stdout=out, stderr=out, text=True
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            print(self.log.read_text())  # noqa: T201 - pytest shows it when the test fails

    def is_healthy(self) -> bool:
        """What Docker would say."""
        done = subprocess.run(self.health_check, cwd=self.folder / "cwd", env=self.environment, timeout=10)
        return done.returncode == 0


def container(name: str, provider: str, folder: Path, told: Mapping[str, str] | None = None) -> Container:
    """The container of one of our services, with `provider` for core-keeper and more that it is `told`."""
    service = services(STACK)[name]
    for part in ("cwd", "tmp", "volumes"):
        (folder / part).mkdir(parents=True)
    environment = {**image_environment(name), **service["environment"], **(told or {})}
    environment["SERVICE_PORT"] = str(free_port(LOOPBACK))
    environment |= {
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
    }
    for volume in (entry.split(":")[1] for entry in service["volumes"] if not entry.startswith("/")):
        place = folder / "volumes" / volume.strip("/")
        place.mkdir()
        environment = {key: str(place) if value == volume else value for key, value in environment.items()}
    hosts = [other["hostname"] for other in services(STACK).values()]
    environment = {key: LOOPBACK if value in hosts else value for key, value in environment.items()}
    arguments = [word.replace("keeper.http://edgex-core-keeper:59890", provider) for word in service["command"]]
    assert f"-cp={provider}" in arguments
    return Container(
        name=name,
        environment=environment,
        command=[_script(entrypoint(name)[0]), *entrypoint(name)[1:], *arguments],
        health_check=[_script(service["healthcheck"]["test"][1]), *service["healthcheck"]["test"][2:]],
        folder=folder,
    )


def _script(name: str) -> str:
    found = shutil.which(name, path=str(SCRIPTS))
    assert found, f"{name} is not installed beside {sys.executable}"
    return found


def until(holds: Callable[[], bool], wait: float, what: str, process: "subprocess.Popen[Any]") -> None:
    """Wait `wait` seconds for something that a running process brings about."""
    deadline = time.monotonic() + wait
    while not holds():
        assert process.poll() is None, f"ended with {process.returncode} before it was {what}"
        assert time.monotonic() < deadline, f"not {what} after {wait:g} s"
        time.sleep(0.2)


def registry_status(keeper: str, name: str) -> str:
    """UP, DOWN, HALT, UNKNOWN; "absent" for a service that never registered."""
    answer = requests.get(f"{keeper}/api/v3/registry/serviceId/{name}", timeout=5)
    return str(answer.json()["registration"]["status"]) if answer.ok else "absent"
