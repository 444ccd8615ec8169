"""Our containers' commands and environments, run as processes: they start, their own health check says so and so does
the registry, they write nothing outside their volumes, and they end when they are told to.

What is theirs is taken from the compose file and the Dockerfiles. What only Docker can give is put in its place: names
of hosts become the loopback address, published ports become free ones, volumes become folders.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from compose_files import OURS, STACK, entrypoint, image_environment, services
from edgex_kit.standin.address import Address, free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

LOOPBACK = "127.0.0.1"
START_WAIT = 60.0  # seconds, the health check's start period
HEALTH_WAIT = 20.0  # seconds until core-keeper has asked twice
SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Container:
    """One of our services as its container starts it."""

    name: str
    environment: dict[str, str]
    command: list[str]
    health_check: list[str]
    folder: Path  # the only place it may write below

    @contextlib.contextmanager
    def running(self) -> Iterator["subprocess.Popen[str]"]:
        """The process; its log is shown when the test fails."""
        log = self.folder.parent / f"{self.name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                self.command, cwd=self.folder / "cwd", env=self.environment, stdout=out, stderr=out, text=True
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            print(log.read_text())  # noqa: T201 - pytest shows it when the test fails

    def is_healthy(self) -> bool:
        """What Docker would say."""
        done = subprocess.run(self.health_check, cwd=self.folder / "cwd", env=self.environment, timeout=10)
        return done.returncode == 0


def _container(name: str, provider: str, folder: Path) -> Container:
    service = services(STACK)[name]
    for part in ("cwd", "tmp", "volumes"):
        (folder / part).mkdir(parents=True)
    environment = {**image_environment(name), **service["environment"], "SERVICE_PORT": str(free_port(LOOPBACK))}
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


def _until(holds: Callable[[], bool], wait: float, what: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + wait
    while not holds():
        assert process.poll() is None, f"ended with {process.returncode} before it was {what}"
        assert time.monotonic() < deadline, f"not {what} after {wait:g} s"
        time.sleep(0.2)


def _status(keeper: str, name: str) -> str:
    answer = requests.get(f"{keeper}/api/v3/registry/serviceId/{name}", timeout=5)
    return str(answer.json()["registration"]["status"]) if answer.ok else "absent"


def _written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_container_becomes_healthy_and_ends_well(
    name: str, open_standin: Callable[..., contextlib.AbstractContextManager], broker: Address, tmp_path: Path
) -> None:
    with open_standin("--state=:memory:", f"--broker={broker}", "--request-timeout=2s") as edgex:
        container = _container(name, edgex.provider, tmp_path / name)
        assert not container.is_healthy(), "a service that does not run is called healthy"
        with container.running() as process:
            _until(container.is_healthy, START_WAIT, "healthy", process)
            _until(lambda: _status(edgex.keeper, name) == "UP", HEALTH_WAIT, "UP in the registry", process)
            assert _written(container.folder / "cwd") == []
            assert not list(container.folder.rglob("*.pyc"))
            process.terminate()
            assert process.wait(15) == 0
        assert _status(edgex.keeper, name) == "HALT"
