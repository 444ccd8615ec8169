"""Point 82: EdgeX's own Go services start on the stand-in.

They are no part of this repository: EDGEX_GO_SERVICES names a folder with bin/<service> and conf/<service>/res of
device-simple and app-service-template 4.0.
"""

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from edgex_kit.standin.address import free_port

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def go_services() -> Path:
    named = os.environ.get("EDGEX_GO_SERVICES")
    if not named or not (Path(named) / "bin").is_dir():
        pytest.skip("EDGEX_GO_SERVICES names no folder with EdgeX's Go services")
    return Path(named)


@contextlib.contextmanager
def running(folder: Path, name: str, edgex: Any, workplace: Path) -> Iterator[str]:
    """The service, once it says that it has started; yields its URL."""
    program = folder / "bin" / name
    if not program.is_file():
        pytest.skip(f"no {program}")
    shutil.copytree(folder / "conf" / name / "res", workplace / name / "res")
    port = free_port("127.0.0.1")
    environ = {**os.environ, "EDGEX_SECURITY_SECRET_STORE": "false", "SERVICE_PORT": str(port)}
    process = subprocess.Popen(
        [program, f"-cp=keeper.{edgex.keeper}", "-r"],
        cwd=workplace / name, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    late = threading.Timer(60, process.kill)
    late.start()
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "Service started in" in line:
                break
        else:
            pytest.fail(f"{name} ended before it was up:\n{said[-3000:]}")
        drain = threading.Thread(target=process.stdout.read)  # nobody else reads what it says on
        drain.start()
        yield f"http://localhost:{port}"
        process.terminate()
        process.wait(20)
        drain.join()
    finally:
        late.cancel()
        late.join()
        process.kill()
        process.wait()
        process.stdout.close()


def test_82_device_simple_starts_reads_and_leaves(
    open_standin: Any, ask: Any, go_services: Path, tmp_path: Path
) -> None:
    with open_standin("--state=:memory:") as edgex:
        with running(go_services, "device-simple", edgex, tmp_path):
            entry = ask("GET", f"{edgex.keeper}/api/v3/registry/serviceId/device-simple").body["registration"]
            assert entry["status"] in ("UNKNOWN", "UP")
            said = ask("GET", f"{edgex.command}/api/v3/device/name/Simple-Device01/SwitchButton")
            assert (said.status, said.body["event"]["readings"][0]["valueType"]) == (200, "Bool")
            picture = ask("GET", f"{edgex.command}/api/v3/device/name/Simple-Device01/Image?ds-pushevent=true")
            assert picture.body["event"]["readings"][0]["binaryValue"].startswith(("iVBOR", "/9j/"))
        entry = ask("GET", f"{edgex.keeper}/api/v3/registry/serviceId/device-simple").body["registration"]
        assert entry["status"] == "HALT"
        stored = ask("GET", f"{edgex.data}/api/v3/event/device/name/Simple-Device01").body["events"]
        assert "Image" in [event["sourceName"] for event in stored]


def test_82_an_app_service_starts_beside_it(open_standin: Any, ask: Any, go_services: Path, tmp_path: Path) -> None:
    with (
        open_standin("--state=:memory:") as edgex,
        running(go_services, "app-service-template", edgex, tmp_path) as url,
    ):
        deadline = time.monotonic() + 10
        while True:  # its web server comes after its start-up message
            try:
                assert ask("GET", f"{url}/api/v3/version").body["sdk_version"]
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
