"""Commands of a device service over the bus: the checklist's points 36 and 53 to 58.

The same tests run against the stand-in and, with EDGEX_CORE_KEEPER and its like, against EdgeX's own services.
"""

import base64
import json
import uuid
from typing import Any

import pytest
import requests

from tests.conformance.peers import WAIT, AddCamera, Bus, Core, Device, OpenDevice, events_of

checklist = pytest.mark.checklist


def command_topic(device: Device, camera: str, command: str, method: str) -> str:
    return f"edgex/device/command/request/{device.service}/{camera}/{command}/{method}"


def reply_topic(device: Device) -> str:
    return f"edgex/response/{device.service}"


@checklist(53)
def test_a_get_over_the_bus_is_answered_with_its_ids(device: Device, camera: str, bus: Bus) -> None:
    answer = bus.ask(command_topic(device, camera, "Rate", "get"), reply_topic(device), None)
    assert answer.envelope["errorCode"] == 0
    assert answer.envelope["contentType"] == "application/json"
    assert (answer.payload["statusCode"], answer.payload["apiVersion"]) == (200, "v3")
    assert answer.payload["requestId"] == answer.envelope["requestID"]
    assert answer.payload["event"]["readings"][0]["resourceName"] == "Rate"


@checklist(53, 36)
def test_a_picture_over_the_bus_is_base64_of_cbor(device: Device, camera: str, bus: Bus) -> None:
    answer = bus.ask(command_topic(device, camera, "Frame", "get"), reply_topic(device), None)
    assert answer.envelope["contentType"] == "application/cbor"
    assert answer.payload["event"]["readings"][0]["binaryValue"].startswith(b"\xff\xd8")


@checklist(53)
def test_core_command_relays_over_http_and_bus(device: Device, camera: str, core: Core, bus: Bus) -> None:
    answer = requests.get(f"{core.command}/api/v3/device/name/{camera}/Look", timeout=WAIT)
    assert answer.status_code == 200
    assert base64.b64decode(answer.json()["event"]["readings"][0]["binaryValue"]).startswith(b"\xff\xd8")
    refused = requests.get(f"{core.command}/api/v3/device/name/{camera}/Nothing", timeout=WAIT)
    assert refused.status_code == 404
    relayed = bus.ask(f"edgex/core/command/request/{camera}/Rate/get", "edgex/response/core-command", None)
    assert relayed.payload["event"]["readings"][0]["resourceName"] == "Rate"


@checklist(54)
def test_methods_may_be_written_in_any_case_and_unknown_ones_are_not_answered(
    device: Device, camera: str, bus: Bus
) -> None:
    assert bus.ask(command_topic(device, camera, "Rate", "GeT"), reply_topic(device), None).payload["statusCode"] == 200
    with bus.listen(f"{reply_topic(device)}/#") as ear:
        request = {
            "apiVersion": "v3",
            "receivedTopic": "",
            "correlationID": str(uuid.uuid4()),
            "requestID": str(uuid.uuid4()),
            "errorCode": 0,
            "payload": None,
            "contentType": "application/json",
        }
        bus.publish(command_topic(device, camera, "Rate", "delete"), request)
        assert ear.is_silent(0.7)


@checklist(55)
@pytest.mark.parametrize("form", ["inline", "base64"])
def test_a_set_over_the_bus_takes_both_forms(device: Device, camera: str, bus: Bus, form: str) -> None:
    body: Any = {"Rate": "11"}
    payload = body if form == "inline" else base64.b64encode(json.dumps(body).encode()).decode()
    answer = bus.ask(command_topic(device, camera, "Rate", "set"), reply_topic(device), payload)
    assert (answer.envelope["errorCode"], answer.payload) == (0, None)
    assert answer.envelope["contentType"] == "application/json"
    assert device.value(camera, "Rate") == "1.1e+01"


@checklist(56)
@pytest.mark.parametrize(
    ("command", "method", "payload", "text"),
    [
        ("Nothing", "get", None, "not found"),
        ("Rate", "set", {"Rate": "fast"}, "Rate"),
        ("Rate", "set", None, "object"),
        ("Rate", "set", "no base64!", "base64"),
    ],
)
def test_errors_over_the_bus_are_plain_text(
    device: Device, camera: str, bus: Bus, command: str, method: str, payload: Any, text: str
) -> None:
    answer = bus.ask(command_topic(device, camera, command, method), reply_topic(device), payload)
    assert (answer.envelope["errorCode"], answer.envelope["contentType"]) == (1, "text/plain")
    assert text in answer.envelope["payload"]


@checklist(57)
def test_a_get_over_the_bus_may_want_nothing_back(device: Device, camera: str, bus: Bus) -> None:
    topic = command_topic(device, camera, "Rate", "get")
    with bus.listen(events_of(device, camera)) as ear:
        query = {"ds-returnevent": "false", "ds-pushevent": "true"}
        answer = bus.ask(topic, reply_topic(device), None, queryParams=query)
        assert (answer.envelope["errorCode"], answer.payload) == (0, None)
        assert ear.next(lambda heard: heard.topic.endswith("/Rate")).payload["event"]["sourceName"] == "Rate"


@checklist(58)
def test_what_is_over_the_limit_is_not_published(open_device: OpenDevice, add_camera: AddCamera, bus: Bus) -> None:
    with open_device(f"limit-{uuid.uuid4().hex[:6]}", MAXEVENTSIZE="4") as small:
        camera = add_camera(to=small)
        answer = bus.ask(command_topic(small, camera, "Frame", "get"), reply_topic(small), None)
        assert answer.envelope["errorCode"] == 1
        assert "message size exceed limit(4 KB)" in answer.envelope["payload"]
        assert (
            bus.ask(command_topic(small, camera, "Rate", "get"), reply_topic(small), None).payload["statusCode"] == 200
        )
        with bus.listen(events_of(small, camera)) as ear:
            small.event(camera, "Frame", **{"ds-pushevent": "true"})
            assert ear.is_silent(0.7, lambda heard: heard.topic.endswith("/Frame"))
