"""Trigger.Type http: the response to an event with a picture is the event of its result."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
import requests
from edgex_kit.wire import codec
from edgex_kit.wire.messages import AddEventRequest
from edgex_standin.address import Address

from tests.conformance.app_process import (
    METER,
    App,
    bus_section,
    configure,
    frame_event,
    open_stage,
    picture,
    run_app,
    save_meter,
)
from tests.conformance.peers import until

pytestmark = pytest.mark.integration

CBOR = {"Content-Type": "application/cbor"}
JSON = {"Content-Type": "application/json"}
BASE = "triggered"


@pytest.fixture(scope="module")
def app(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("trigger")
    save_meter(folder / "models")
    save_meter(folder / "models", "labour", trips=50_000)
    pipelines = {"a": {**METER, "Cameras": "gate,yard"}, "b": {**METER, "Cameras": "gate"},
                 "slow": {"Model": "labour", "Cameras": "slow"}}  # fmt: skip
    configure(
        folder,
        MessageBus=bus_section(broker, BASE),
        Writable={"Pipelines": pipelines},
        Trigger={"Type": "http"},
        Service={"RequestTimeout": "300ms"},
    )
    with run_app(folder, "-s") as running:
        yield running


def post(app: App, body: bytes, headers: dict[str, str]) -> requests.Response:
    return requests.post(f"{app.url}/api/v3/trigger", data=body, headers=headers, timeout=10)


def request(camera: str = "gate", data: bytes | None = None, **fields: Any) -> dict[str, Any]:
    event = frame_event(camera, picture() if data is None else data, **fields)
    return {"apiVersion": "v3", "requestId": "", "event": event}


@pytest.mark.parametrize("is_bare", [False, True])
def test_an_event_in_cbor_is_answered_with_the_result_of_the_first_pipeline(app: App, is_bare: bool) -> None:
    asked = request()
    answer = post(app, cbor2.dumps(asked["event"] if is_bare else asked), CBOR)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    result = codec.convert(answer.json(), AddEventRequest).event
    assert (result.device_name, result.profile_name, result.source_name) == ("gate", "detection", "a")
    said = result.readings[0].object_value
    assert said["frameId"] == asked["event"]["tags"]["frameId"]
    assert said["objects"][0]["label"] == "lamp"


def test_an_event_in_json_holds_its_picture_in_base64(app: App) -> None:
    asked = request()
    reading = asked["event"]["readings"][0]
    reading["binaryValue"] = base64.b64encode(reading["binaryValue"]).decode()
    answer = post(app, json.dumps(asked).encode(), {"Content-Type": "application/json; charset=utf-8"})
    assert answer.json()["event"]["readings"][1]["value"] == "1"


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"", JSON), (b"{", JSON), (b"[]", JSON), (b'{"event": {}}', JSON), (b"\xff", CBOR), (b"{}", CBOR)],
)
def test_a_malformed_event_is_a_400_in_plain_text(app: App, body: bytes, headers: dict[str, str]) -> None:
    answer = post(app, body, headers)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("fields", [{"data": b"x"}, {"media_type": "application/pdf"}, {"media_type": "image/gif"}])
def test_a_picture_that_cannot_be_analysed_is_a_422_in_plain_text(app: App, fields: dict[str, Any]) -> None:
    answer = post(app, cbor2.dumps(request(**fields)), CBOR)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_camera_without_a_pipeline_is_a_500_and_another_method_a_405(app: App) -> None:
    assert post(app, cbor2.dumps(request("nobody")), CBOR).status_code == 500
    assert requests.get(f"{app.url}/api/v3/trigger", timeout=5).status_code == 405


def test_an_answer_that_takes_too_long_is_a_503(app: App) -> None:
    answer = post(app, cbor2.dumps(request("slow", picture(255))), CBOR)
    assert (answer.status_code, answer.text) == (503, "Request timed out")
    again = cbor2.dumps(request("slow", picture(0)))
    until(lambda: post(app, again, CBOR).status_code == 200, "the model is done with the first", 30)


def test_frames_on_the_bus_are_ignored(app: App, broker: Address) -> None:
    with open_stage(broker.host, broker.port, BASE) as stage:
        stage.show("gate")
        stage.settle()
        time.sleep(0.3)
        assert stage.told == []
    assert app.camera("gate").get("framesReceived", 0) == 0


def test_without_that_trigger_there_is_no_such_route(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bus")
    configure(folder, MessageBus=bus_section(broker, "untriggered"))
    with run_app(folder, "-s") as app:
        assert post(app, cbor2.dumps(request()), CBOR).status_code == 404


def test_without_a_message_bus_events_are_answered_all_the_same(tmp_path: Path) -> None:
    save_meter(tmp_path / "models")
    configure(tmp_path, MessageBus={"Disabled": True}, Writable={"Pipelines": {"a": METER}}, Trigger={"Type": "http"})
    with run_app(tmp_path, "-s") as app:
        assert post(app, cbor2.dumps(request()), CBOR).status_code == 200
        assert not app.status()["isBrokerConnected"]
