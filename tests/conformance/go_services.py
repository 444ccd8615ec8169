"""EdgeX's own Go services as processes, with a configuration that a test may change.

They are no part of this repository: EDGEX_GO_SERVICES names a folder with bin/<service> and conf/<service>/res of
device-simple, app-service-template and app-service-configurable 4.0; the last needs no conf.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from edgex_standin.address import free_port

from tests.conformance.peers import until

START_WAIT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class GoService:
    """One that has started."""

    url: str
    log: Path

    def said(self, *words: str) -> list[str]:
        """The lines of its log that hold all of these words."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if all(word in line for word in words)]


def go_services_folder() -> Path:
    """Where they are; skips the test without."""
    named = os.environ.get("EDGEX_GO_SERVICES")
    if not named or not (Path(named) / "bin").is_dir():
        pytest.skip("EDGEX_GO_SERVICES names no folder with EdgeX's Go services")
    return Path(named)


def own_res(folder: Path, name: str, workplace: Path) -> Path:
    """A copy of a service's `res` where it will run, to be changed."""
    res = workplace / name / "res"
    shutil.copytree(folder / "conf" / name / "res", res)
    return res


def change_yaml(file: Path, change: Callable[[Any], None]) -> None:
    """Let `change` have the tree of a file."""
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(tree)
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")


@contextlib.contextmanager
def running(folder: Path, name: str, keeper: str, workplace: Path, *flags: str, **environ: str) -> Iterator[GoService]:
    """The service that `own_res` has prepared, once it says that it has started; ended with SIGTERM."""
    program = folder / "bin" / name
    if not program.is_file():
        pytest.skip(f"no {program}")
    port = free_port("127.0.0.1")
    told = {"EDGEX_SECURITY_SECRET_STORE": "false", "SERVICE_PORT": str(port), **environ}
    log = workplace / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, f"-cp=keeper.{keeper}", "-r", *flags],
            cwd=workplace / name, env={**os.environ, **told}, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    service = GoService(f"http://localhost:{port}", log)
    try:
        until(lambda: process.poll() is not None or service.said("Service started in"), f"{name} is up", START_WAIT)
        assert process.poll() is None, f"{name} ended before it was up"
        yield service
        process.terminate()
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        print(log.read_text(errors="replace")[-8000:])  # noqa: T201 - pytest shows it when the test fails


OpenGoService = Callable[..., AbstractContextManager[GoService]]
