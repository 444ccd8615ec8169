"""Our containers in EdgeX's secure mode: the broker wants a password out of the secret store, callers need a token.

OpenBao is played over real HTTP; the broker is mosquitto with a password file; what the services are told is the secure
compose file's.
"""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from edgex_standin.address import Address, free_port

from tests.kit.openbao import running
from tests.system.compose_files import OURS, SECURE, services
from tests.system.containers import LOOPBACK, container, registry_status, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

USER, PASSWORD = "edgex-bus", "correct horse battery"
COMMON = "edgex/v4/core-common-config-bootstrapper/all-services/MessageBus"


def _listens(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _guarded_broker(folder: Path) -> Iterator[tuple[Address, Address]]:
    """One broker with two doors: for the stand-in without a password, for everybody else with one."""
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
        until(lambda: _listens(own) and _listens(guarded), 10, "listening", process)
        yield own, guarded
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_container_enters_a_secure_edgex(
    name: str, open_standin: Callable[..., contextlib.AbstractContextManager], tmp_path: Path
) -> None:
    with (
        _guarded_broker(tmp_path) as (own, guarded),
        open_standin("--state=:memory:", f"--broker={own}", "--request-timeout=2s") as edgex,
        running(name, tmp_path / "secrets") as bao,
    ):
        bao.secrets["message-bus"] = {"username": USER, "password": PASSWORD}
        for key, value in {
            "AuthMode": "usernamepassword",
            "SecretName": "message-bus",
            "Port": str(guarded.port),
        }.items():
            put = requests.put(f"{edgex.keeper}/api/v3/kvs/key/{COMMON}/{key}", json={"value": value}, timeout=5)
            assert put.ok
        told = {**services(SECURE)[name]["environment"], **bao.environment}
        secured = container(name, edgex.provider, tmp_path / name, told)
        with secured.running() as process:
            until(secured.is_healthy, 60, "healthy", process)
            until(lambda: registry_status(edgex.keeper, name) == "UP", 20, "UP in the registry", process)
            config = f"http://{LOOPBACK}:{secured.environment['SERVICE_PORT']}/api/v3/config"
            assert requests.get(config, timeout=5).status_code == 401
            shown = requests.get(config, headers={"Authorization": "Bearer jwt-of-a-person"}, timeout=5)
            assert shown.status_code == 200
            assert PASSWORD not in shown.text
            process.terminate()
            assert process.wait(15) == 0
        assert PASSWORD not in secured.log.read_text()
        assert f"jwt-of-{name}" not in secured.log.read_text()
