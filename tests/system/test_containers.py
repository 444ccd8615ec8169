"""Our containers' commands and environments, run as processes in EdgeX's insecure and secure mode.

In secure mode a small HTTP server plays the secret store; mosquitto has a password file; the variables are those of the
secure compose file.
"""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from edgex_standin.address import Address, free_port

from tests.conftest import LOOPBACK, Edgex, OpenStandin
from tests.kit.openbao import running
from tests.system.containers import OURS, SECURE, Container, container, registry_status, services, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.parametrize("name", sorted(OURS))]

USER, PASSWORD = "edgex-bus", "correct horse battery"
COMMON = "edgex/v4/core-common-config-bootstrapper/all-services/MessageBus"


@contextlib.contextmanager
def up(started: Container, name: str, edgex: Edgex) -> Iterator[None]:
    """A container from its start until the registry says UP, and then to its clean end."""
    assert not started.is_healthy(), "a service that does not run is called healthy"
    with started.running() as process:
        until(started.is_healthy, 60, "healthy", process)
        until(lambda: registry_status(edgex.keeper, name) == "UP", 20, "UP in the registry", process)
        yield
        process.terminate()
        assert process.wait(15) == 0
    assert registry_status(edgex.keeper, name) == "HALT"


def test_a_container_becomes_healthy_writes_only_to_volumes_and_stops(
    name: str, open_standin: OpenStandin, broker: Address, tmp_path: Path
) -> None:
    with open_standin("--state=:memory:", f"--broker={broker}", "--request-timeout=2s") as edgex:
        started = container(name, edgex.provider, tmp_path / name)
        with up(started, name, edgex):
            assert list((started.folder / "cwd").rglob("*")) == []
            assert list(started.folder.rglob("*.pyc")) == []


@contextlib.contextmanager
def two_listeners(folder: Path) -> Iterator[tuple[Address, Address]]:
    """One broker with two ports: without a password for the stand-in, with one for everybody else."""
    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    passwd = shutil.which("mosquitto_passwd")
    if mosquitto is None or passwd is None:
        pytest.skip("mosquitto is not installed")
    subprocess.run([passwd, "-b", "-c", str(folder / "passwords"), USER, PASSWORD], check=True)
    (folder / "passwords").chmod(0o644)
    folder.chmod(0o755)
    own, guarded = Address(LOOPBACK, free_port(LOOPBACK)), Address(LOOPBACK, free_port(LOOPBACK))
    (folder / "mosquitto.conf").write_text(
        f"per_listener_settings true\nlistener {own.port} {LOOPBACK}\nallow_anonymous true\n"
        f"listener {guarded.port} {LOOPBACK}\nallow_anonymous false\npassword_file {folder / 'passwords'}\nuser root\n"
    )
    process = subprocess.Popen([mosquitto, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(own) and listens(guarded), 10, "listening", process)
        yield own, guarded
    finally:
        process.terminate()
        process.wait(10)


def listens(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=1):
        return True
    return False


def test_a_container_joins_a_secure_edgex(name: str, open_standin: OpenStandin, tmp_path: Path) -> None:
    with (
        two_listeners(tmp_path) as (own, guarded),
        open_standin("--state=:memory:", f"--broker={own}", "--request-timeout=2s") as edgex,
        running(name, tmp_path / "secrets") as bao,
    ):
        bao.secrets["message-bus"] = {"username": USER, "password": PASSWORD}
        settings = {"AuthMode": "usernamepassword", "SecretName": "message-bus", "Port": str(guarded.port)}
        for key, value in settings.items():
            put = requests.put(f"{edgex.keeper}/api/v3/kvs/key/{COMMON}/{key}", json={"value": value}, timeout=5)
            assert put.ok
        environment = {**services(SECURE)[name]["environment"], **bao.environment}
        secured = container(name, edgex.provider, tmp_path / name, environment)
        with up(secured, name, edgex):
            config = f"http://{LOOPBACK}:{secured.environment['SERVICE_PORT']}/api/v3/config"
            assert requests.get(config, timeout=5).status_code == 401
            shown = requests.get(config, headers={"Authorization": "Bearer jwt-of-a-person"}, timeout=5)
            assert shown.status_code == 200
            assert PASSWORD not in shown.text
        assert PASSWORD not in secured.log.read_text()
        assert f"jwt-of-{name}" not in secured.log.read_text()
