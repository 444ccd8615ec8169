"""Commands of a device service over HTTP: the checklist's points 34 to 52 and 64.

The same tests run against the stand-in and, with EDGEX_CORE_KEEPER and its like, against EdgeX's own services.
"""

import base64
import copy
import time
import uuid
from typing import Any

import cbor2
import pytest
import requests

from tests.conformance.camera_profile import PROFILE
from tests.conformance.peers import WAIT, AddCamera, Bus, Core, Device, Metadata, OpenDevice, events_of, until

checklist = pytest.mark.checklist


def status(answer: requests.Response) -> int:
    """Its status, which the body says too."""
    if answer.content:
        assert answer.json()["statusCode"] == answer.status_code
        assert answer.json()["apiVersion"] == "v3"
    return answer.status_code


@checklist(34)
def test_a_resource_is_one_reading_of_its_own_name(device: Device, camera: str) -> None:
    answer = device.get(camera, "Rate")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert (body["apiVersion"], body["statusCode"]) == ("v3", 200)
    event = body["event"]
    assert (event["deviceName"], event["profileName"], event["sourceName"]) == (camera, camera, "Rate")
    assert [reading["resourceName"] for reading in event["readings"]] == ["Rate"]


@checklist(35)
def test_a_device_command_reads_all_its_resources_in_one_event(device: Device, camera: str) -> None:
    event = device.event(camera, "Tuning")
    assert event["sourceName"] == "Tuning"
    assert [reading["resourceName"] for reading in event["readings"]] == ["Rate", "Quality"]
    assert event["tags"] == {"made": "by hand"}


@checklist(35)
def test_mappings_of_a_command_replace_values(device: Device, camera: str) -> None:
    assert device.put(camera, "Quality", {"Quality": 90}).status_code == 200
    rate, quality = device.event(camera, "Tuning")["readings"]
    assert (quality["valueType"], quality["value"]) == ("String", "fine")
    assert rate["valueType"] == "Float32"
    assert device.put(camera, "Tuning", {"Quality": "coarse"}).status_code == 200
    assert device.value(camera, "Quality") == "30"


@checklist(36, 51)
def test_a_picture_makes_the_body_cbor(device: Device, camera: str) -> None:
    answer = device.get(camera, "Look")
    assert answer.headers["Content-Type"] == "application/cbor"
    body = cbor2.loads(answer.content)
    assert body["statusCode"] == 200
    picture, rate = body["event"]["readings"]
    assert isinstance(picture["binaryValue"], bytes)
    assert picture["binaryValue"].startswith(b"\xff\xd8")
    assert (picture["valueType"], picture["mediaType"]) == ("Binary", "image/jpeg")
    assert rate["value"]


@checklist(37)
def test_nothing_comes_back_when_nothing_is_wanted(device: Device, camera: str) -> None:
    answer = device.get(camera, "Rate", **{"ds-returnevent": "false"})
    assert (answer.status_code, answer.content, answer.headers.get("Content-Type")) == (200, b"", None)


@checklist(38)
@pytest.mark.parametrize(("query", "is_pushed"), [({"ds-pushevent": "true"}, True), ({}, False)])
def test_an_event_is_published_when_that_is_wanted(
    device: Device, camera: str, bus: Bus, query: dict[str, str], is_pushed: bool
) -> None:
    with bus.listen(events_of(device, camera)) as ear:
        event = device.event(camera, "Rate", **query)
        if not is_pushed:
            assert ear.is_silent(0.5, lambda heard: heard.topic.endswith("/Rate"))
            return
        heard = ear.next(lambda heard: heard.topic.endswith("/Rate"))
    assert heard.topic == f"edgex/events/device/{device.service}/{camera}/{camera}/Rate"
    assert heard.payload["event"]["id"] == event["id"]
    assert heard.payload["apiVersion"] == "v3"


@checklist(38)
def test_a_published_picture_is_base64_of_cbor_and_core_data_keeps_it(
    device: Device, camera: str, bus: Bus, core: Core
) -> None:
    with bus.listen(events_of(device, camera)) as ear:
        device.event(camera, "Frame", **{"ds-pushevent": "true"})
        heard = ear.next(lambda heard: heard.topic.endswith("/Frame"))
    assert heard.envelope["contentType"] == "application/cbor"
    assert isinstance(heard.envelope["payload"], str)
    (reading,) = heard.payload["event"]["readings"]
    url = f"{core.data}/api/v3/reading/device/name/{camera}/resourceName/Frame"
    stored = until(lambda: requests.get(url, timeout=WAIT).json()["readings"], "core-data has the picture")
    assert base64.b64decode(stored[0]["binaryValue"]) == reading["binaryValue"]


@checklist(39)
def test_a_name_is_a_regex_unless_that_is_switched_off(device: Device, camera: str) -> None:
    names = {reading["resourceName"] for reading in device.event(camera, "(Rate|Qual.*|Stop)")["readings"]}
    assert names == {"Rate", "Quality"}, "write-only resources are passed over"
    assert device.event(camera, "R[[:lower:]]te")["sourceName"] == "R[[:lower:]]te"
    assert status(device.get(camera, "Rat")) == 404, "a part of a name is no match"
    assert status(device.get(camera, "Rate.*", **{"ds-regexcmd": "false"})) == 404
    assert status(device.get(camera, "St.p")) == 405
    assert status(device.get(camera, "[Rate")) == 400


@checklist(40)
def test_what_does_not_exist_is_not_found(device: Device, camera: str) -> None:
    assert status(device.get("nobody", "Rate")) == 404
    assert status(device.put("nobody", "Rate", {"Rate": 1})) == 404
    assert status(device.get(camera, "Nothing")) == 404
    assert status(device.put(camera, "Nothing", {"Nothing": 1})) == 404


@checklist(40)
@pytest.mark.parametrize(("field", "state"), [("adminState", "LOCKED"), ("operatingState", "DOWN")])
def test_a_device_that_is_locked_or_down_refuses_commands(
    device: Device, camera: str, metadata: Metadata, field: str, state: str
) -> None:
    if field == "operatingState":  # a camera that streams is set UP again
        assert status(device.put(camera, "Stop", {"Stop": "true"})) == 200
    metadata.change("device", {"name": camera, field: state})
    until(lambda: device.get(camera, "Rate").status_code == 423, "the device refuses")
    answer = device.put(camera, "Rate", {"Rate": 1})
    assert status(answer) == 423
    text = f"device {camera} locked" if field == "adminState" else f"device {camera} OperatingState is DOWN"
    assert answer.json()["message"].startswith(text)


@checklist(40)
def test_a_device_without_a_profile_refuses_commands(device: Device, unique: str, metadata: Metadata) -> None:
    item = {
        "name": unique,
        "serviceName": device.service,
        "adminState": "UNLOCKED",
        "operatingState": "UP",
        "protocols": {"Camera": {"Source": "pattern:"}},
    }
    assert metadata.add("device", item)["statusCode"] == 201
    try:
        until(lambda: device.get(unique, "Rate").status_code == 423, "the device refuses")
        answer = device.get(unique, "Rate")
        assert "no associated device profile" in answer.json()["message"]
    finally:
        metadata.delete(f"device/name/{unique}")


@checklist(41)
def test_reading_what_is_written_and_writing_what_is_read_is_not_allowed(device: Device, camera: str) -> None:
    assert status(device.get(camera, "Stop", **{"ds-regexcmd": "false"})) == 405
    assert status(device.put(camera, "Source", {"Source": "x"})) == 405
    assert status(device.put(camera, "Look", {"Rate": 1})) == 405


@checklist(42)
@pytest.mark.parametrize(
    ("command", "body", "expected"),
    [
        ("Rate", "no json", 400),
        ("Rate", "[1]", 400),
        ("Rate", {"Rate": "fast"}, 400),
        ("Rate", {"Rate": ""}, 400),
        ("Quality", {"Quality": 7.5}, 400),
        ("Quality", {"Quality": "300"}, 400),
        ("Rate", {}, 500),
        ("Rate", None, 500),
        ("Quality", None, 200),
        ("Tuning", None, 200),
        ("Rate", {"Rate": "3.5e+00"}, 200),
        ("Rate", {"Rate": 3, "Unknown": 1}, 200),
    ],
)
def test_a_body_is_checked_and_defaults_fill_it(
    device: Device, camera: str, command: str, body: Any, expected: int
) -> None:
    assert status(device.put(camera, command, body)) == expected


@checklist(42)
def test_an_operations_default_comes_before_the_resources(device: Device, camera: str) -> None:
    assert device.put(camera, "Tuning").status_code == 200
    assert (device.value(camera, "Rate"), device.value(camera, "Quality")) == ("7e+00", "60")


@checklist(43)
def test_a_write_answers_without_an_event_and_publishes_one(device: Device, camera: str, bus: Bus) -> None:
    with bus.listen(events_of(device, camera)) as ear:
        answer = device.put(camera, "Rate", {"Rate": 12})
        assert answer.json() == {"apiVersion": "v3", "statusCode": 200}
        heard = ear.next(lambda heard: heard.topic.endswith("/Rate"))
        (reading,) = heard.payload["event"]["readings"]
        assert (reading["resourceName"], reading["value"]) == ("Rate", "1.2e+01")
        assert device.put(camera, "Stop", {"Stop": True}).status_code == 200
        assert ear.is_silent(0.5, lambda heard: heard.topic.endswith("/Stop"))


@checklist(44)
@pytest.mark.parametrize("rate", [-1, 50.5])
def test_a_value_beyond_its_limits_is_refused(device: Device, camera: str, rate: float) -> None:
    before = device.value(camera, "Rate")
    assert status(device.put(camera, "Rate", {"Rate": rate})) == 400
    assert device.value(camera, "Rate") == before


@checklist(45)
def test_what_the_camera_cannot_do_is_told_with_the_cause(device: Device, camera: str) -> None:
    for answer in (device.get(camera, "Broken"), device.put(camera, "Broken", {"Broken": 1})):
        assert status(answer) == 500
        assert "Levitate" in answer.json()["message"]


@checklist(46)
def test_a_command_of_too_many_operations_is_refused(open_device: OpenDevice, add_camera: AddCamera) -> None:
    with open_device(f"maxops-{uuid.uuid4().hex[:6]}", DEVICE_MAXCMDOPS="1") as small:
        camera = add_camera(to=small)
        assert status(small.get(camera, "Tuning")) == 500
        assert "MaxCmdOps (1)" in small.put(camera, "Tuning").json()["message"]
        assert status(small.get(camera, "Rate")) == 200


@checklist(47, 48)
def test_values_are_written_as_go_writes_them(device: Device, camera: str) -> None:
    assert device.put(camera, "Rate", {"Rate": 12.5}).status_code == 200
    assert device.value(camera, "Rate") == "1.25e+01"
    assert device.put(camera, "Quality", {"Quality": "77"}).status_code == 200
    assert device.value(camera, "Quality") == "77"


@checklist(49)
def test_events_have_fresh_ids_and_growing_origins(device: Device, camera: str) -> None:
    events = [device.event(camera, "Tuning") for _ in range(5)]
    origins = [event["origin"] for event in events]
    assert origins == sorted(set(origins))
    assert all(abs(origin / 1e9 - time.time()) < 60 for origin in origins)
    assert all(reading["origin"] for event in events for reading in event["readings"])
    ids = [event["id"] for event in events]
    assert len({str(uuid.UUID(text)) for text in ids}) == 5


@checklist(50)
def test_readings_say_what_they_belong_to(device: Device, camera: str) -> None:
    for reading in device.event(camera, "Tuning")["readings"]:
        assert (reading["deviceName"], reading["profileName"]) == (camera, camera)
        assert reading["resourceName"]
        assert reading["valueType"]


@checklist(52)
def test_units_come_only_where_they_are_wanted(device: Device, camera: str, core: Core) -> None:
    def units() -> Any:
        return device.event(camera, "Rate")["readings"][0].get("units", "none")

    assert units() == "fps"
    key = f"{core.keeper}/api/v3/kvs/key/edgex/v4/{device.service}/Writable/Reading/ReadingUnits"
    requests.put(key, json={"value": "false"}, timeout=WAIT)
    until(lambda: units() == "none", "units are left out")
    requests.put(key, json={"value": "true"}, timeout=WAIT)
    until(lambda: units() == "fps", "units are back")


@checklist(44)
def test_null_is_no_rate(device: Device, camera: str) -> None:
    assert status(device.put(camera, "Rate", {"Rate": None})) in (400, 500)


@checklist(64)
def test_a_changed_profile_counts_for_the_next_command(device: Device, camera: str, metadata: Metadata) -> None:
    profile = copy.deepcopy({**PROFILE, "name": camera})
    profile["deviceResources"][1]["properties"]["maximum"] = 5  # type: ignore[index]
    assert device.put(camera, "Rate", {"Rate": 6}).status_code == 200
    metadata.change("deviceProfile", profile, key="profile", method="PUT")
    until(lambda: device.put(camera, "Rate", {"Rate": 6}).status_code == 400, "the new limit counts")
