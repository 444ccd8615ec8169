"""Names with characters that topics and addresses are made of, on a gateway that escapes them: point 22, end to end.

All services of a gateway must agree. The stand-in is one of this module's own; EdgeX's own core is restarted with
Service.EnableNameFieldEscape, and again without when these tests are done.
"""

import copy
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.conformance.app_process import OpenApp
from tests.conformance.camera_profile import PROFILE
from tests.conformance.gateway import all_services_with
from tests.conformance.openers import app_opener, cameras, device_opener
from tests.conformance.peers import WAIT, Bus, Core, Device, Metadata, OpenDevice, core_of, named_core, until

pytestmark = pytest.mark.timeout(180)  # the core may be restarted, twice
checklist = pytest.mark.checklist

ODD = "Süd/Tor 1+#_~.%41-?&="  # everything that means something in a topic, in an address, or in Go's escapes
EXACT = {"ds-regexcmd": "false"}  # this name is no regular expression


def escaped(name: str) -> str:
    """As EdgeX writes a name into a topic."""
    text = quote(name, safe="$&+=:@")  # Go's url.PathEscape; then five more characters
    for char in "+-._~":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


@pytest.fixture(scope="module")
def core(request: pytest.FixtureRequest) -> Iterator[Core]:
    if (named := named_core()) is not None:
        with all_services_with(named, "Service/EnableNameFieldEscape", "true"):
            yield named
        return
    with request.getfixturevalue("open_standin")("--state=:memory:", "--escape-names") as edgex:
        yield core_of(edgex)


@pytest.fixture(scope="module")
def open_device(core: Core, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDevice]:
    with device_opener(core, tmp_path_factory) as run:
        yield run


@pytest.fixture(scope="module")
def open_app(core: Core, tmp_path_factory: pytest.TempPathFactory) -> OpenApp:
    return app_opener(core, tmp_path_factory)


@pytest.fixture(scope="module")
def device(open_device: OpenDevice) -> Iterator[Device]:
    with open_device(f"yard.2~{uuid.uuid4().hex[:6]}") as running:
        yield running


@pytest.fixture
def profile() -> dict[str, Any]:
    """Of a camera whose frame rate has an odd name, too."""
    tree = copy.deepcopy(PROFILE)
    rate = next(it for it in tree["deviceResources"] if it["name"] == "Rate")
    tree["deviceResources"].append({**rate, "name": f"Rate {ODD}"})
    return tree


@pytest.fixture
def camera(metadata: Metadata, device: Device, profile: dict[str, Any]) -> Iterator[str]:
    """A camera; its profile has its name."""
    with cameras(metadata, device, f"{ODD}{uuid.uuid4().hex[:6]}") as add:
        yield add(profile=profile)


def _event_url(core: Core, camera: str) -> str:
    return f"{core.data}/api/v3/event/device/name/{escaped(camera)}"


@checklist(22)
def test_commands_reach_a_camera_of_any_name_over_http_and_bus(
    core: Core, device: Device, camera: str, bus: Bus
) -> None:
    odd = f"Rate {ODD}"
    url = f"{core.command}/api/v3/device/name/{escaped(camera)}/{escaped(odd)}"
    assert requests.put(url, json={odd: "13"}, timeout=WAIT).status_code == 200
    answer = requests.get(url, params=EXACT, timeout=WAIT).json()["event"]
    assert (answer["deviceName"], answer["sourceName"]) == (camera, odd)
    assert (answer["readings"][0]["resourceName"], float(answer["readings"][0]["value"])) == (odd, 13)
    topic = f"edgex/core/command/request/{escaped(camera)}/{escaped(odd)}/get"
    said = bus.ask(topic, "edgex/response/core-command", None, queryParams=EXACT)
    assert said.payload["event"]["readings"][0]["resourceName"] == odd
    topic = f"edgex/device/command/request/{escaped(device.service)}/{escaped(camera)}/{escaped(odd)}/get"
    said = bus.ask(topic, f"edgex/response/{escaped(device.service)}", None, queryParams=EXACT)
    assert said.payload["event"]["deviceName"] == camera


@checklist(22, 76)
def test_frames_and_results_of_a_camera_of_any_name_go_their_way_and_are_kept(
    core: Core, device: Device, camera: str, bus: Bus, open_app: OpenApp
) -> None:
    with (
        open_app(f"yard.2~{uuid.uuid4().hex[:6]}", "-r") as app,
        bus.listen("edgex/frames/#") as frames,
        bus.listen("edgex/events/device/#") as events,
    ):
        frame = frames.next(lambda it: it.payload["event"]["deviceName"] == camera)
        names = f"{escaped(camera)}/{escaped(camera)}"
        assert frame.topic == f"edgex/frames/{escaped(device.service)}/{names}/Frame"
        result = events.next(lambda it: it.payload["event"]["deviceName"] == camera)
        assert result.topic == f"edgex/events/device/{escaped(app.key)}/detection/{escaped(camera)}/lamps"
    stored = until(lambda: requests.get(_event_url(core, camera), timeout=WAIT).json()["events"], "core-data has it")
    assert {(it["deviceName"], it["profileName"], it["sourceName"]) for it in stored} == {
        (camera, "detection", "lamps")
    }


@checklist(22)
def test_published_events_of_any_name_are_kept(core: Core, device: Device, camera: str) -> None:
    odd = f"Rate {ODD}"
    assert device.get(camera, odd, **EXACT, **{"ds-pushevent": "true"}).status_code == 200
    (stored,) = until(lambda: requests.get(_event_url(core, camera), timeout=WAIT).json()["events"], "core-data has it")
    assert (stored["profileName"], stored["sourceName"]) == (camera, odd)


@checklist(22)
def test_a_device_of_any_name_is_validated_locked_and_let_go(device: Device, camera: str, metadata: Metadata) -> None:
    bad = {"name": f"{camera} bad", "serviceName": device.service, "profileName": camera}
    states = {"adminState": "UNLOCKED", "operatingState": "UP", "protocols": {"Camera": {"Source": "nothing:at-all"}}}
    refused = metadata.add("device", {**bad, **states})
    assert refused["statusCode"] == 500
    assert "nothing:at-all" in refused["message"]
    for state, status in (("LOCKED", 423), ("UNLOCKED", 200)):
        metadata.change("device", {"name": camera, "adminState": state})
        until(lambda status=status: device.get(camera, "Source").status_code == status, f"it is {state}")
    assert metadata.delete(f"device/name/{escaped(camera)}") == 200
    until(lambda: device.get(camera, "Source").status_code == 404, "it is gone")
