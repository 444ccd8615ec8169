"""What an application service makes of events: the checklist's points 5, 20 to 23, 72, 73, 75 to 77 and 79.

The same tests run against the stand-in and against EdgeX's own services.
"""

import base64
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import cbor2
import pytest
import requests

from tests.conformance.app_process import (
    App,
    OpenApp,
    Stage,
    envelope,
    frame_event,
    frame_message,
    frame_topic,
    picture,
    post,
    result_of,
)
from tests.conformance.keys import put
from tests.conformance.peers import WAIT, Bus, Core, short, until

pytestmark = pytest.mark.timeout(120)
checklist = pytest.mark.checklist


def _inline(request: dict[str, Any]) -> dict[str, Any]:
    """A request in plain JSON, where binary values are base64."""
    readings = [
        {**it, "binaryValue": base64.b64encode(it["binaryValue"]).decode()} for it in request["event"]["readings"]
    ]
    return {**request, "event": {**request["event"], "readings": readings}}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "object": lambda it: envelope(_inline(it)),
    "base64 JSON": lambda it: envelope(_base64(json.dumps(_inline(it)).encode())),
    "base64 CBOR": lambda it: envelope(_base64(cbor2.dumps(it)), "application/cbor"),
    "CBOR envelope": lambda it: cbor2.dumps(envelope(it, "application/cbor")),
    "no apiVersion": lambda it: envelope(_base64(cbor2.dumps(it)), "application/cbor", apiVersion=""),
    "bare event": lambda it: envelope(_base64(cbor2.dumps(it["event"])), "application/cbor"),
    "bare object": lambda it: envelope(_inline(it)["event"]),
    "keys of another case": lambda it: {key.upper(): item for key, item in envelope(_inline(it)).items()},
}


@checklist(20, 72, 73)
@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("branch", ["frames", "events/device"])
def test_events_are_read_in_every_form(app_stage: Stage, unique: str, form: str, branch: str) -> None:
    request = {"apiVersion": "v3", "requestId": str(uuid.uuid4()), "event": frame_event(unique, picture())}
    topic = frame_topic(unique).removeprefix("edgex/frames")
    message = FORMS[form](request)
    app_stage.publish(f"{branch}{topic}", message if isinstance(message, bytes) else json.dumps(message).encode())
    assert result_of(app_stage, unique).said["frameId"] == request["event"]["tags"]["frameId"]


@checklist(5, 21)
def test_results_are_json_objects_and_say_so_exactly(app: App, bus: Bus, app_stage: Stage, unique: str) -> None:
    with bus.listen(f"edgex/events/device/{app.key}/#") as ear:
        app_stage.show(unique)
        said = ear.next()
    assert said.envelope["contentType"] == "application/json"
    assert isinstance(said.envelope["payload"], dict)
    assert {said.envelope["apiVersion"], said.payload["apiVersion"], said.payload["event"]["apiVersion"]} == {"v3"}
    assert {"receivedTopic", "correlationID", "requestID", "errorCode"} <= set(said.envelope)
    for id_ in (said.envelope["correlationID"], said.payload["requestId"], said.payload["event"]["id"]):
        assert str(uuid.UUID(id_)) == id_


@checklist(22)
def test_names_are_escaped_in_topics_when_the_gateway_says_so(open_app: OpenApp, core: Core, bus: Bus) -> None:
    name, camera = f"escape-{short()}", "a/b c+_1"
    escaped = "a%2Fb%20c%2B%5F1"
    put(core, f"app-{name}/Service/EnableNameFieldEscape", "true")
    with open_app(name) as app, bus.listen("edgex/events/device/#") as ear:
        bus.publish(
            f"edgex/frames/device%2Dcamera/vision%2Dcamera/{escaped}/Frame",
            frame_message(frame_event(camera, picture())),
        )
        said = ear.next(lambda it: "app%2D" in it.topic)
        own = quote(app.key, safe="").replace("-", "%2D")
        assert said.topic == f"edgex/events/device/{own}/detection/{escaped}/lamps"
        assert said.payload["event"]["deviceName"] == camera


@checklist(22)
def test_escaped_names_are_understood_whatever_the_gateway_says(app_stage: Stage) -> None:
    app_stage.publish("frames/device%2Dcamera/vision%2Dcamera/dock%2Dcam%5F7/Frame", frame_message(
        frame_event("dock-cam_7", picture())
    ))  # fmt: skip
    assert result_of(app_stage, "dock-cam_7").topic.endswith("/detection/dock-cam_7/lamps")


@checklist(23)
def test_all_topics_are_below_the_base_prefix(open_app: OpenApp, core: Core, bus: Bus) -> None:
    name, base = f"prefix-{short()}", f"site{short()}/north"
    put(core, f"app-{name}/MessageBus/BaseTopicPrefix", base)
    put(core, f"app-{name}/Writable/Telemetry/Interval", "1s")
    put(core, f"app-{name}/Writable/Telemetry/Metrics/MessagesReceived", "true")
    with open_app(name) as app, bus.listen(f"{base}/#") as ear, bus.listen(f"edgex/+/{app.key}/#") as elsewhere:
        bus.publish(frame_topic("gate", base), frame_message(frame_event("gate", picture())))
        ear.next(lambda it: it.topic == f"{base}/events/device/{app.key}/detection/gate/lamps")
        ear.next(lambda it: it.topic == f"{base}/telemetry/{app.key}/MessagesReceived")
        assert elsewhere.is_silent(0.2)


@checklist(75)
def test_results_go_to_the_publish_topic_with_its_placeholders_filled_in(open_app: OpenApp, bus: Bus) -> None:
    name = f"published-{short()}"
    topic = {"Trigger": {"PublishTopic": f"seen/{name}/{{profilename}}/{{DeviceName}}/{{sourcename}}/{{pipelineid}}"}}
    with open_app(name, sections=topic), bus.listen(f"edgex/seen/{name}/#") as ear:
        bus.publish(frame_topic("gate"), frame_message(frame_event("gate", picture())))
        assert ear.next().topic == f"edgex/seen/{name}/detection/gate/lamps/lamps"


@checklist(75)
def test_a_placeholder_nobody_can_fill_in_publishes_nothing(open_app: OpenApp, bus: Bus) -> None:
    name = f"unresolved-{short()}"
    topic = {"Trigger": {"PublishTopic": f"seen/{name}/{{nobody}}"}}
    with bus.listen(f"edgex/seen/{name}/#") as ear, open_app(name, sections=topic, wait=False) as app:
        bus.publish(frame_topic("gate"), frame_message(frame_event("gate", picture())))
        assert app.process.wait(20) == 1
        assert app.said("level=ERROR", "{nobody} is none of")
        assert ear.is_silent(0.1)


@checklist(76)
def test_core_data_stores_results_as_they_were_published(app: App, core: Core, app_stage: Stage) -> None:
    camera = f"stored-{short()}"
    app_stage.show(camera)
    told = result_of(app_stage, camera)
    event = told.event
    assert told.topic == f"edgex/events/device/{app.key}/{event['profileName']}/{camera}/{event['sourceName']}"
    url = f"{core.data}/api/v3/event/device/name/{camera}"
    (stored,) = until(lambda: requests.get(url, timeout=WAIT).json()["events"], "core-data has it")
    assert {key: stored[key] for key in ("id", "deviceName", "profileName", "sourceName", "tags")} == {
        key: event[key] for key in ("id", "deviceName", "profileName", "sourceName", "tags")
    }
    sent, kept = ({it["resourceName"]: it for it in one["readings"]} for one in (event, stored))
    assert set(kept) == {"Detections", "ObjectCount", "TopLabel", "TopScore", "InferenceTimeMs"} == set(sent)
    assert kept["Detections"]["valueType"] == "Object"
    assert kept["Detections"]["objectValue"] == sent["Detections"]["objectValue"]
    assert [kept[name]["value"] for name in ("ObjectCount", "TopLabel")] == ["1", "lamp"]
    assert float(kept["TopScore"]["value"]) == pytest.approx(float(sent["TopScore"]["value"]))
    assert int(kept["Detections"]["objectValue"]["captureOrigin"]) > 10**18, "a decimal text keeps all its digits"


@checklist(76)
@pytest.mark.fault(1)
def test_core_data_drops_no_result_and_keeps_the_digits_of_their_values(app: App, core: Core, app_stage: Stage) -> None:
    camera = f"counted-{short()}"
    for light in range(40, 100):
        known = len(app_stage.of(camera))
        app_stage.show(camera, light=light)
        until(lambda known=known: len(app_stage.of(camera)) > known, "its result")
    told = {it.event["id"]: _values(it.event) for it in app_stage.of(camera)}
    assert len(told) == 60
    kept = until(lambda: (found := _stored(core, camera)) and len(found) == 60 and found, "core-data has all of them")
    assert kept == told
    assert len({str(it.event["tags"]) for it in app_stage.of(camera)}) == 1
    if "EDGEX_DATABASE" in os.environ:
        assert _device_rows(camera) <= 6, "one for the event and one for each reading, however many events"


def _device_rows(camera: str) -> int:
    """Rows of a device in the database of a real core-data, which never removes any."""
    query = f"SELECT count(*) FROM core_data.device_info WHERE devicename = '{camera}'"
    command = ["psql", os.environ["EDGEX_DATABASE"], "-Atc", query]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=WAIT).stdout)


def _stored(core: Core, camera: str) -> dict[str, Any]:
    answer = requests.get(f"{core.data}/api/v3/event/device/name/{camera}", params={"limit": "-1"}, timeout=WAIT)
    return {event["id"]: _values(event) for event in json.loads(answer.text)["events"]}


def _values(event: dict[str, Any]) -> dict[str, Any]:
    """What we claim to keep: values, Objects to the last digit, tags and the origin in decimal; Go rounds `origin`."""
    values = {it["resourceName"]: it.get("value", it.get("objectValue")) for it in event["readings"]}
    return {**values, "tags": event["tags"]}


@checklist(77)
def test_with_the_http_trigger_an_event_is_answered_with_its_result(open_app: OpenApp) -> None:
    with open_app(f"asked-{short()}", sections={"Trigger": {"Type": "http"}}) as app:
        request = {"apiVersion": "v3", "requestId": "", "event": frame_event("gate", picture())}
        for body, content_type in (
            (cbor2.dumps(request), "application/cbor"),
            (json.dumps(_inline(request)).encode(), "application/json"),
        ):
            answer = post(app, body, content_type)
            assert answer.status_code == 200
            assert answer.json()["event"]["readings"][0]["objectValue"]["objects"][0]["label"] == "lamp"
        assert post(app, b"{").status_code == 400
        assert post(app, b"no event", "application/json").status_code == 400
        assert post(app, cbor2.dumps(frame_event("gate", b"no picture"))).status_code == 422
        assert requests.get(f"{app.url}/api/v3/trigger", timeout=WAIT).status_code == 405


@checklist(79)
def test_its_own_results_are_not_looked_at_again(app: App, app_stage: Stage, unique: str) -> None:
    for _ in range(3):
        app_stage.show(unique)
        time.sleep(0.1)
    until(lambda: len(app_stage.of(unique)) == 3, "the results")
    time.sleep(0.5)
    assert len(app_stage.of(unique)) == 3
    row = app.camera(unique)
    assert (row["framesReceived"], row["dropped"]) == (3, {})
