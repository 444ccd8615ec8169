"""Our containers' commands and environments, run as processes: they start, their own health check says so and so does
the registry, they write nothing outside their volumes, and they end when they are told to."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from edgex_standin.address import Address

from tests.system.compose_files import OURS
from tests.system.containers import container, registry_status, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

START_WAIT = 60.0  # seconds, the health check's start period
HEALTH_WAIT = 20.0  # seconds until core-keeper has asked twice


def _written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_container_becomes_healthy_and_ends_well(
    name: str, open_standin: Callable[..., contextlib.AbstractContextManager], broker: Address, tmp_path: Path
) -> None:
    with open_standin("--state=:memory:", f"--broker={broker}", "--request-timeout=2s") as edgex:
        started = container(name, edgex.provider, tmp_path / name)
        assert not started.is_healthy(), "a service that does not run is called healthy"
        with started.running() as process:
            until(started.is_healthy, START_WAIT, "healthy", process)
            until(lambda: registry_status(edgex.keeper, name) == "UP", HEALTH_WAIT, "UP in the registry", process)
            assert _written(started.folder / "cwd") == []
            assert not list(started.folder.rglob("*.pyc"))
            process.terminate()
            assert process.wait(15) == 0
        assert registry_status(edgex.keeper, name) == "HALT"
