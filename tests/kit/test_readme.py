"""The README's service, run as it is written there."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests

pytestmark = pytest.mark.system

README = Path(__file__).parent.parent.parent / "edgex-kit" / "README.md"
KIT = README.parent / "edgex_kit"


class Edgex(Protocol):
    keeper: str
    data: str
    provider: str


def block(language: str) -> str:
    """The first block of a language."""
    match = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert match is not None
    return match[1]


def answered(url: str, wait: float = 15) -> Any:
    """The first answer that is no error."""
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        answer = requests.get(url, timeout=5)
        if answer.ok and answer.json().get("totalCount", 1):
            return answer.json()
        time.sleep(0.05)
    pytest.fail(f"no answer from {url}")


def test_the_service_of_the_readme_is_registered_and_its_readings_are_stored(edgex: Edgex, tmp_path: Path) -> None:
    (tmp_path / "thermometer.py").write_text(block("python"))
    (tmp_path / "configuration.yaml").write_text(block("yaml").replace("59999", "0"))
    command = [sys.executable, str(tmp_path / "thermometer.py"), f"-cp={edgex.provider}", "-r"]
    service = subprocess.Popen(command, env={"EDGEX_SECURITY_SECRET_STORE": "false"})
    try:
        readings = answered(f"{edgex.data}/api/v3/reading/device/name/sensor-1?limit=1")["readings"]
        assert readings[0]["resourceName"] == "Temperature"
        assert readings[0]["units"] == "degC"
        entry = answered(f"{edgex.keeper}/api/v3/registry/serviceId/device-thermometer")["registration"]
        assert requests.get(f"http://localhost:{entry['port']}/api/v3/ping", timeout=5).ok
        service.terminate()
        assert service.wait(10) == 0
    finally:
        service.kill()
        service.wait()


def test_every_module_is_in_the_readme_and_no_other() -> None:
    rows = [line.split("|")[1:3] for line in README.read_text().splitlines() if line.startswith("| `")]
    packages = {re.findall(r"`(\w+)`", name)[0]: set(re.findall(r"`(\w+)`", text)) for name, text in rows}
    tops = {path.stem for path in KIT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert packages.keys() == tops - {"__init__"}
    for name in ("wire", "config", "clients", "service"):
        assert packages[name] == {path.stem for path in (KIT / name).glob("*.py")} - {"__init__"}, name
