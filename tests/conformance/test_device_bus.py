"""How a device service starts and keeps to the bus: the points 7, 15, 18 to 23, 36 and 50 of the checklist."""

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
import requests

from tests.conformance.keys import delete, put
from tests.conformance.peers import WAIT, AddCamera, Bus, Core, Device, Heard, OpenDevice, short, until
from tests.conformance.rival import take_over

pytestmark = pytest.mark.timeout(60)
checklist = pytest.mark.checklist
COMMON = "core-common-config-bootstrapper"


def config(device: Device) -> Any:
    return requests.get(f"{device.url}/api/v3/config", timeout=WAIT).json()["config"]


@contextlib.contextmanager
def set_to(core: Core, path: str, value: str, after: str | None = None) -> Iterator[None]:
    """A key of core-keeper for the length of the block; in the end it is `after`, or gone."""
    put(core, path, value)
    try:
        yield
    finally:
        if after is None:
            delete(core, path)
        else:
            put(core, path, after)


def ask(bus: Bus, device: Device, camera: str, command: str, method: str, payload: Any, **envelope: Any) -> Any:
    topic = f"edgex/device/command/request/{device.service}/{camera}/{command}/{method}"
    return bus.ask(topic, f"edgex/response/{device.service}", payload, **envelope)


@checklist(7)
def test_the_start_waits_for_the_common_configuration_and_gives_up_in_the_end(
    open_device: OpenDevice, core: Core
) -> None:
    with set_to(core, f"{COMMON}/IsCommonConfigReady", "false", after="true"):
        with open_device(f"early-{short()}", waits=True, EDGEX_STARTUP_DURATION="2") as early:
            assert early.process.wait(20) == 1
        with open_device(f"early-{short()}", waits=True) as early:
            said = "waiting for core-keeper: core-common-config-bootstrapper"
            until(lambda: said in early.log.read_text(), "it says what it waits for", 20)
            put(core, f"{COMMON}/IsCommonConfigReady", "true")
            until(lambda: "device-camera started" in early.log.read_text(), "it goes on", 20)


@checklist(15)
def test_a_common_setting_that_is_set_privately_is_none_of_its_business(device: Device, core: Core) -> None:
    with set_to(core, f"{COMMON}/all-services/Writable/LogLevel", "ERROR"):
        probe = f"{COMMON}/all-services/Writable/Telemetry/Tags/Floor"
        with set_to(core, probe, "ground"):  # this one is nobody else's
            until(lambda: "ground" in str(config(device)), "the common tag counts")
            assert config(device)["Writable"]["LogLevel"] == "INFO"


@checklist(18, 19)
def test_its_client_id_is_its_key_and_after_a_lost_connection_it_hears_again(
    open_device: OpenDevice, add_camera: AddCamera, core: Core, bus: Bus
) -> None:
    with open_device(f"alone-{short()}", MESSAGEBUS_OPTIONAL_CLIENTID="") as one:
        camera = add_camera(to=one)
        take_over(core, one.service, lambda: "no message broker" in one.log.read_text())
        until(lambda: one.log.read_text().count("connected to the message broker") == 2, "it is back", 20)
        assert ask(bus, one, camera, "Rate", "get", None).payload["event"]["deviceName"] == camera


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@checklist(20)
@pytest.mark.parametrize("version", ["v3", "v2", ""])
@pytest.mark.parametrize("form", ["object", "base64 JSON", "base64 CBOR"])
def test_payloads_are_read_in_every_form(device: Device, camera: str, bus: Bus, form: str, version: str) -> None:
    wanted = {"Rate": "11"}
    payloads: dict[str, tuple[Any, str]] = {
        "object": (wanted, "application/json"),
        "base64 JSON": (_base64(json.dumps(wanted).encode()), "application/json"),
        "base64 CBOR": (_base64(cbor2.dumps(wanted)), "application/cbor"),
    }
    payload, kind = payloads[form]
    answer = ask(bus, device, camera, "Rate", "set", payload, contentType=kind, apiVersion=version)
    assert (answer.envelope["errorCode"], answer.payload) == (0, None)
    assert float(device.value(camera, "Rate")) == 11


@checklist(5, 21)
@pytest.mark.parametrize(("source", "kind"), [("Rate", "application/json"), ("Frame", "application/cbor")])
def test_what_it_publishes_says_exactly_what_it_is(
    device: Device, camera: str, bus: Bus, source: str, kind: str
) -> None:
    with bus.listen(f"edgex/events/device/{device.service}/{camera}/{camera}/{source}") as ear:
        assert device.get(camera, source, **{"ds-pushevent": "true"}).status_code == 200
        heard = ear.next()
    assert heard.envelope["contentType"] == kind
    assert heard.envelope["apiVersion"] == heard.payload["apiVersion"] == "v3"
    payload = heard.envelope["payload"]
    if kind == "application/cbor":
        assert _base64(base64.b64decode(payload, validate=True)) == payload, "standard alphabet, padded"
    else:
        assert isinstance(payload, dict)


@checklist(23)
def test_all_topics_are_below_the_base_prefix(open_device: OpenDevice, core: Core, bus: Bus) -> None:
    name = f"moved-{short()}"
    put(core, f"device-{name}/MessageBus/BaseTopicPrefix", "gateway/two")
    put(core, f"device-{name}/Writable/Telemetry/Interval", "1s")
    put(core, f"device-{name}/Writable/Telemetry/Metrics/EventsSent", "true")
    with bus.listen("gateway/two/#") as ear, bus.listen(f"edgex/telemetry/device-{name}/#") as other:
        with open_device(name) as one:
            assert ear.next().topic == f"gateway/two/telemetry/{one.service}/EventsSent"
            answer = bus.ask(
                f"gateway/two/device/command/request/{one.service}/nobody/Rate/get",
                f"gateway/two/response/{one.service}",
                None,
            )
            assert answer.envelope["errorCode"] == 1
        assert other.is_silent(0.1)


@checklist(11, 18)
def test_instances_of_one_service_are_services_of_their_own(open_device: OpenDevice, core: Core) -> None:
    name = f"twin-{short()}"
    with open_device(name, "-i=a", waits=True, MESSAGEBUS_OPTIONAL_CLIENTID="") as one:
        until(lambda: "device-camera started" in one.log.read_text(), "the first is up", 20)
        with open_device(name, "-i=b", waits=True, MESSAGEBUS_OPTIONAL_CLIENTID="") as two:
            until(lambda: "device-camera started" in two.log.read_text(), "the second is up", 20)
            for instance in ("a", "b"):
                entry = f"{core.keeper}/api/v3/registry/serviceId/device-{name}_{instance}"
                assert requests.get(entry, timeout=WAIT).json()["registration"]["status"] in ("UNKNOWN", "UP")
            assert "no message broker" not in one.log.read_text() + two.log.read_text()


@checklist(36, 50)
def test_frames_are_published_outside_of_events(device: Device, camera: str, bus: Bus) -> None:
    def is_frame(heard: Heard) -> bool:
        return heard.topic.startswith("edgex/frames/")

    with bus.listen(f"edgex/frames/{device.service}/{camera}/{camera}/#") as ear:
        first, second = ear.next(is_frame), ear.next(is_frame)
    for heard in (first, second):
        assert heard.topic == f"edgex/frames/{device.service}/{camera}/{camera}/Frame"
        event = heard.payload["event"]
        assert event["sourceName"] == "Frame"
        tags = event["tags"]
        assert tags["captureOrigin"] == str(int(tags["captureOrigin"]))
        assert (tags["width"], tags["height"]) == (640, 480)
        assert event["readings"][0]["binaryValue"].startswith(b"\xff\xd8")
    assert first.payload["event"]["tags"]["frameId"] != second.payload["event"]["tags"]["frameId"]
    assert first.payload["event"]["tags"]["seq"] < second.payload["event"]["tags"]["seq"]
