"""EdgeX's own core with a setting of all services changed, and back again.

Its services read such a setting when they start, and nothing in EdgeX restarts them: EDGEX_RESTART names a command that
restarts core-metadata, core-data and core-command of the gateway.
"""

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator

import pytest
import requests

from tests.conformance.keys import put, value
from tests.conformance.peers import WAIT, Core, until

START_WAIT = 60.0  # seconds a restart may take


@contextlib.contextmanager
def all_services_with(core: Core, key: str, text: str) -> Iterator[None]:
    """The core has `text` at `key` while the block lasts; skips the test where it has not and cannot be restarted."""
    path = f"core-common-config-bootstrapper/all-services/{key}"
    before = value(core, path)
    if before == text:
        yield
        return
    if before is None or "EDGEX_RESTART" not in os.environ:
        pytest.skip(f"{key} is {before} there, and EDGEX_RESTART names no command that restarts its services")
    try:
        put(core, path, text)
        _restart(core)
        yield
    finally:
        put(core, path, before)
        _restart(core)


def _restart(core: Core) -> None:
    """Returns when the three answer, and the registry knows that they do."""
    command = shlex.split(os.environ["EDGEX_RESTART"])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=2 * START_WAIT)
    assert done.returncode == 0, f"{command} ended with {done.returncode}"
    for name, url in (("core-metadata", core.metadata), ("core-data", core.data), ("core-command", core.command)):
        until(lambda url=url: _answers(url), f"{name} is up", START_WAIT)
        until(lambda name=name: _is_registered(core, name), f"{name} is up in the registry", START_WAIT)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/api/v3/ping", timeout=WAIT).status_code == 200
    return False


def _is_registered(core: Core, name: str) -> bool:
    answer = requests.get(f"{core.keeper}/api/v3/registry/serviceId/{name}", timeout=WAIT)
    return answer.status_code == 200 and answer.json()["registration"]["status"] == "UP"
