"""Point 82: EdgeX's own Go services start on the stand-in.

They are no part of this repository; tests/conformance/go_services.py says where they are looked for.
"""

import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance.go_services import go_services_folder, own_res, running

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def go_services() -> Path:
    return go_services_folder()


def test_82_device_simple_starts_reads_and_leaves(
    open_standin: Any, ask: Any, go_services: Path, tmp_path: Path
) -> None:
    with open_standin("--state=:memory:") as edgex:
        own_res(go_services, "device-simple", tmp_path)
        with running(go_services, "device-simple", edgex.keeper, tmp_path):
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
    own_res(go_services, "app-service-template", tmp_path)
    with (
        open_standin("--state=:memory:") as edgex,
        running(go_services, "app-service-template", edgex.keeper, tmp_path) as service,
    ):
        deadline = time.monotonic() + 10
        while True:  # its web server comes after its start-up message
            try:
                assert ask("GET", f"{service.url}/api/v3/version").body["sdk_version"]
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
