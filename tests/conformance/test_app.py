"""An application service as EdgeX expects it: the checklist's points 1 to 5, 7 to 25 and 72 to 80, over HTTP and MQTT.

The same tests run against the stand-in and against EdgeX's own services.
"""

import base64
import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import quote

import cbor2
import paho.mqtt.client as paho
import pytest
import requests
from eyes import METER, Eye, OpenApp, Stage, envelope, frame_event, frame_message, frame_topic, open_stage, picture
from keys import delete, key_url, put, value
from peers import WAIT, Bus, Core, until

pytestmark = pytest.mark.timeout(120)
checklist = pytest.mark.checklist

COMMON = "core-common-config-bootstrapper"


def config(app: Eye) -> dict[str, Any]:
    tree: dict[str, Any] = requests.get(f"{app.url}/api/v3/config", timeout=WAIT).json()["config"]
    return tree


def result_of(stage: Stage, camera: str) -> Any:
    return until(lambda: next(iter(stage.of(camera)), None), f"a result of {camera}")


@pytest.fixture(scope="module")
def app(open_app: OpenApp) -> Iterator[Eye]:
    """A service for all tests that need nothing special. It hears events of devices beside frames."""
    topics = {"Trigger": {"SubscribeTopics": "frames/#, events/#"}}
    with open_app(f"eye-{uuid.uuid4().hex[:6]}", "-r", sections=topics) as running:
        yield running


@pytest.fixture
def stage(core: Core, app: Eye) -> Iterator[Stage]:
    with open_stage(*core.broker) as stage:
        stage.service = app.key
        yield stage


# -- A. common to all services


@checklist(1, 5)
def test_ping_says_who_and_when(app: Eye) -> None:
    body = requests.get(f"{app.url}/api/v3/ping", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", app.key)
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}", body["timestamp"])


@checklist(2, 5)
def test_version_says_which_and_of_which_sdk(app: Eye) -> None:
    body = requests.get(f"{app.url}/api/v3/version", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", app.key)
    assert body["version"]
    assert body["sdk_version"].startswith("4.")


@checklist(3, 5)
def test_config_holds_the_sections_as_edgex_spells_them(app: Eye) -> None:
    body = requests.get(f"{app.url}/api/v3/config", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", app.key)
    assert {"Writable", "Service", "MessageBus", "Clients", "Trigger", "Inference"} <= set(body["config"])
    assert body["config"]["Trigger"]["SubscribeTopics"] == "frames/#, events/#"


@checklist(4, 5)
def test_a_secret_is_stored_and_never_shown(app: Eye, core: Core) -> None:
    body = {"apiVersion": "v3", "secretName": "camera", "secretData": [{"key": "password", "value": "hunter2-hidden"}]}
    answer = requests.post(f"{app.url}/api/v3/secret", json=body, timeout=WAIT)
    assert (answer.status_code, answer.json()["statusCode"], answer.json()["apiVersion"]) == (201, 201, "v3")
    place = f"{app.key}/Writable/InsecureSecrets/camera/SecretData/password"
    until(lambda: value(core, place) == "hunter2-hidden", "it is kept")
    until(lambda: "InsecureSecrets" in config(app)["Writable"], "the service knows it")
    assert "hunter2-hidden" not in requests.get(f"{app.url}/api/v3/config", timeout=WAIT).text
    assert not app.said("hunter2-hidden")
    for wrong in ({**body, "secretName": ""}, {**body, "secretData": []}, {"apiVersion": "v3"}):
        refused = requests.post(f"{app.url}/api/v3/secret", json=wrong, timeout=WAIT)
        assert (refused.status_code, refused.json()["apiVersion"]) == (400, "v3")


@checklist(7)
def test_the_start_waits_until_the_common_configuration_is_ready(open_app: OpenApp, core: Core) -> None:
    ready = f"{COMMON}/IsCommonConfigReady"
    name = f"early-{uuid.uuid4().hex[:6]}"
    put(core, ready, "false")
    try:
        with open_app(name, wait=False, EDGEX_STARTUP_DURATION="2") as late:
            assert late.process.wait(20) == 1
            assert late.said("level=ERROR", "gave up after 2 s")
        with open_app(name, wait=False) as early:
            until(lambda: early.said("waiting for core-keeper"), "it waits", 20)
            put(core, ready, "true")
            until(lambda: early.said("started on port"), "it goes on", 20)
    finally:
        put(core, ready, "true")


@checklist(8)
def test_private_settings_go_before_those_of_app_services_before_those_of_all(open_app: OpenApp, core: Core) -> None:
    name, tags = f"layers-{uuid.uuid4().hex[:6]}", "Writable/Telemetry/Tags"
    layers = {f"{COMMON}/all-services": "abc", f"{COMMON}/app-services": "bc", f"app-{name}": "c"}
    try:
        for layer, letters in layers.items():
            for letter in letters:
                put(core, f"{layer}/{tags}/conformance-{letter}", layer)
        with open_app(name) as app:
            found = config(app)["Writable"]["Telemetry"]["Tags"]
            assert [found[f"conformance-{letter}"] for letter in "abc"] == list(layers)
    finally:
        for layer, letters in layers.items():
            for letter in letters:
                delete(core, f"{layer}/{tags}/conformance-{letter}")


@checklist(9, 10)
def test_settings_are_stored_once_and_then_core_keepers_word_counts(open_app: OpenApp, core: Core) -> None:
    name = f"stored-{uuid.uuid4().hex[:6]}"
    key, rate, age = f"app-{name}", "Writable/Pipelines/lamps/Rate", "Inference/MaxFrameAge"
    rated = {"Writable": {"Pipelines": {"lamps": {**METER, "Rate": 4}}}}
    put(core, f"{key}/{age}", "33s")  # somebody's choice before the first start
    with _kept(open_app, core, name, sections=rated, WRITABLE_PIPELINES_LAMPS_RATE="7") as first:
        assert (value(core, f"{key}/{rate}"), value(core, f"{key}/{age}")) == ("7", "33s")
        assert config(first)["Inference"]["MaxFrameAge"] == "33s"
    with _kept(open_app, core, name, sections=rated, WRITABLE_PIPELINES_LAMPS_RATE="9") as second:
        assert value(core, f"{key}/{rate}") == "7"
        assert config(second)["Writable"]["Pipelines"]["lamps"]["Rate"] == "7"
    with open_app(name, "-o", sections=rated, WRITABLE_PIPELINES_LAMPS_RATE="9"):
        assert (value(core, f"{key}/{rate}"), value(core, f"{key}/{age}")) == ("9", "0s")


@contextlib.contextmanager
def _kept(open_app: OpenApp, core: Core, name: str, **rest: Any) -> Iterator[Eye]:
    """An app whose keys stay in core-keeper after it."""
    with contextlib.ExitStack() as stack:
        app = stack.enter_context(open_app(name, **rest))
        yield app
        answer = requests.get(key_url(core, app.key), params={"plaintext": "true"}, timeout=WAIT).json()["response"]
    for pair in answer:
        put(core, pair["key"].removeprefix("edgex/v4/"), pair["value"])


@checklist(11, 12, 13)
def test_it_registers_is_up_and_leaves_with_halt(open_app: OpenApp, core: Core) -> None:
    name = f"known-{uuid.uuid4().hex[:6]}"
    url = f"{core.keeper}/api/v3/registry/serviceId/app-{name}"

    def entry() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(url, timeout=WAIT).json()["registration"]
        return found

    for _ in range(2):  # the second time it is known: PUT instead of POST
        with open_app(name, "-r") as app:
            until(lambda: entry()["status"] == "UP", "it is UP", 20)
            assert f"http://{entry()['host']}:{entry()['port']}" == app.url
            assert entry()["HealthCheck"]["path"] == "/api/v3/ping"
            app.process.terminate()
            assert app.process.wait(15) == 0
            assert entry()["status"] == "HALT"


@checklist(14)
def test_the_log_level_follows_core_keeper(app: Eye, core: Core) -> None:
    put(core, f"{app.key}/Writable/LogLevel", "DEBUG")
    until(lambda: config(app)["Writable"]["LogLevel"] == "DEBUG", "the level is DEBUG")
    put(core, f"{app.key}/Writable/LogLevel", "INFO")
    until(lambda: config(app)["Writable"]["LogLevel"] == "INFO", "the level is INFO again")


@checklist(15)
def test_a_common_setting_that_is_set_privately_is_none_of_its_business(app: Eye, core: Core) -> None:
    common = f"{COMMON}/all-services/Writable/LogLevel"
    try:
        put(core, common, "ERROR")
        time.sleep(0.5)
        assert config(app)["Writable"]["LogLevel"] == "INFO"
        put(core, f"{COMMON}/all-services/Writable/Telemetry/Tags/conformance-d", "common")  # while others are
        until(lambda: config(app)["Writable"]["Telemetry"].get("Tags", {}).get("conformance-d"), "the tag")
        assert config(app)["Writable"]["LogLevel"] == "INFO"
    finally:
        delete(core, common)
        delete(core, f"{COMMON}/all-services/Writable/Telemetry/Tags/conformance-d")


@checklist(16)
def test_a_change_message_that_core_keeper_does_not_confirm_changes_nothing(app: Eye, core: Core, bus: Bus) -> None:
    key = f"edgex/v4/{app.key}/Writable/LogLevel"
    stale = {"key": key, "Created": 0, "Modified": 0, "value": "ERROR"}
    bus.publish(f"edgex/configs/{key}", {"apiVersion": "v3", "contentType": "application/json", "payload": stale})
    time.sleep(0.5)
    assert config(app)["Writable"]["LogLevel"] == "INFO"
    assert value(core, f"{app.key}/Writable/LogLevel") == "INFO"


@checklist(17)
def test_enabled_metrics_are_published_every_interval(app: Eye, core: Core, bus: Bus, stage: Stage) -> None:
    with bus.listen(f"edgex/telemetry/{app.key}/#") as ear:
        put(core, f"{app.key}/Writable/Telemetry/Metrics/MessagesReceived", "true")
        put(core, f"{app.key}/Writable/Telemetry/Interval", "1s")
        stage.show("metered")
        said = ear.next(lambda it: it.payload["fields"][0]["value"] > 0)
        again = ear.next()
    put(core, f"{app.key}/Writable/Telemetry/Metrics/MessagesReceived", "false")
    assert said.topic == f"edgex/telemetry/{app.key}/MessagesReceived"
    assert said.payload["apiVersion"] == "v3"
    assert said.payload["name"] == "MessagesReceived"
    assert said.payload["fields"][0]["name"] == "counter-count"
    assert said.payload["tags"][0] == {"name": "service", "value": app.key}
    assert 0.5 < again.at - said.at < 3


@checklist(18, 19)
def test_its_client_id_is_its_key_and_after_a_lost_connection_it_hears_again(open_app: OpenApp, core: Core) -> None:
    name = f"alone-{uuid.uuid4().hex[:6]}"
    with open_app(name, MESSAGEBUS_OPTIONAL_CLIENTID="") as app, open_stage(*core.broker) as stage:
        stage.service = app.key
        stage.show("before")
        result_of(stage, "before")
        for _ in range(2):
            _take_over(core, app)  # the broker ends the service's connection in favour of ours
            stage.show("after")
            known = len(stage.of("after"))
            until(lambda known=known: stage.show("after") and len(stage.of("after")) > known, "it hears again", 20)


def _take_over(core: Core, app: Eye) -> None:
    """Be the client of the service's name for a moment: MQTT has the broker end the older connection."""
    lost = len(app.said("no message broker"))
    connected = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=app.key)
    client.on_connect = lambda *_: connected.set()
    client.connect(*core.broker)
    client.loop_start()
    assert connected.wait(WAIT)
    until(lambda: len(app.said("no message broker")) > lost, "the service has lost its connection")
    client.disconnect()
    client.loop_stop()


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
def test_events_are_read_in_every_form(stage: Stage, unique: str, form: str, branch: str) -> None:
    request = {"apiVersion": "v3", "requestId": str(uuid.uuid4()), "event": frame_event(unique, picture())}
    topic = frame_topic(unique).removeprefix("edgex/frames")
    message = FORMS[form](request)
    stage.publish(f"{branch}{topic}", message if isinstance(message, bytes) else json.dumps(message).encode())
    assert result_of(stage, unique).said["frameId"] == request["event"]["tags"]["frameId"]


@checklist(5, 21)
def test_results_are_json_objects_and_say_so_exactly(app: Eye, bus: Bus, stage: Stage, unique: str) -> None:
    with bus.listen(f"edgex/events/device/{app.key}/#") as ear:
        stage.show(unique)
        said = ear.next()
    assert said.envelope["contentType"] == "application/json"
    assert isinstance(said.envelope["payload"], dict)
    assert {said.envelope["apiVersion"], said.payload["apiVersion"], said.payload["event"]["apiVersion"]} == {"v3"}
    assert {"receivedTopic", "correlationID", "requestID", "errorCode"} <= set(said.envelope)
    for id_ in (said.envelope["correlationID"], said.payload["requestId"], said.payload["event"]["id"]):
        assert str(uuid.UUID(id_)) == id_


@checklist(22)
def test_names_are_escaped_in_topics_when_the_gateway_says_so(open_app: OpenApp, core: Core, bus: Bus) -> None:
    name, camera = f"escape-{uuid.uuid4().hex[:6]}", "a/b c+_1"
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
def test_escaped_names_are_understood_whatever_the_gateway_says(stage: Stage) -> None:
    stage.publish("frames/device%2Dcamera/vision%2Dcamera/dock%2Dcam%5F7/Frame", frame_message(
        frame_event("dock-cam_7", picture())
    ))  # fmt: skip
    assert result_of(stage, "dock-cam_7").topic.endswith("/detection/dock-cam_7/lamps")


@checklist(23)
def test_all_topics_are_below_the_base_prefix(open_app: OpenApp, core: Core, bus: Bus) -> None:
    name, base = f"prefix-{uuid.uuid4().hex[:6]}", f"site{uuid.uuid4().hex[:6]}/north"
    put(core, f"app-{name}/MessageBus/BaseTopicPrefix", base)
    put(core, f"app-{name}/Writable/Telemetry/Interval", "1s")
    put(core, f"app-{name}/Writable/Telemetry/Metrics/MessagesReceived", "true")
    with open_app(name) as app, bus.listen(f"{base}/#") as ear, bus.listen(f"edgex/+/{app.key}/#") as elsewhere:
        bus.publish(frame_topic("gate", base), frame_message(frame_event("gate", picture())))
        ear.next(lambda it: it.topic == f"{base}/events/device/{app.key}/detection/gate/lamps")
        ear.next(lambda it: it.topic == f"{base}/telemetry/{app.key}/MessagesReceived")
        assert elsewhere.is_silent(0.2)


@checklist(24)
def test_an_answer_that_takes_longer_than_allowed_is_a_503(open_app: OpenApp) -> None:
    slow = {"Trigger": {"Type": "http"}, "Service": {"RequestTimeout": "200ms"},
            "Writable": {"Pipelines": {"lamps": {"Model": "labour"}}}}  # fmt: skip
    with open_app(f"slow-{uuid.uuid4().hex[:6]}", sections=slow) as app:
        event = cbor2.dumps(frame_event("gate", picture(255)))
        answer = _post(app, event)
        assert (answer.status_code, answer.text) == (503, "Request timed out")


@checklist(25)
def test_a_body_over_the_limit_is_refused(open_app: OpenApp, core: Core) -> None:
    name = f"limits-{uuid.uuid4().hex[:6]}"
    put(core, f"app-{name}/Service/MaxRequestSize", "1")
    with open_app(name) as app:
        answer = requests.post(f"{app.url}/api/v3/secret", data="x" * 2000, timeout=WAIT)
        assert answer.status_code == 413
        assert "Service.MaxRequestSize(1 KB)" in answer.json()["message"]


# -- E. application service


@checklist(74)
def test_another_major_version_of_core_metadata_ends_the_start(open_app: OpenApp, core: Core) -> None:
    name = f"major-{uuid.uuid4().hex[:6]}"
    with _core_metadata("3.1.0") as port:
        for key, text in (("Host", "127.0.0.1"), ("Port", str(port))):
            put(core, f"app-{name}/Clients/core-metadata/{key}", text)
        with open_app(name, wait=False) as refused:
            assert refused.process.wait(20) == 1
            assert refused.said("level=ERROR", "core-metadata is version 3.1.0")
        for key, text in (("Host", "127.0.0.1"), ("Port", str(port))):
            put(core, f"app-{name}/Clients/core-metadata/{key}", text)
        with open_app(name, "-s") as app:
            assert requests.get(f"{app.url}/api/v3/ping", timeout=WAIT).status_code == 200


@contextlib.contextmanager
def _core_metadata(version: str) -> Iterator[int]:
    """Something that answers everything with a version."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"apiVersion": "v3", "version": version, "serviceName": "core-metadata"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@checklist(75)
def test_results_go_to_the_publish_topic_with_its_placeholders_filled_in(open_app: OpenApp, bus: Bus) -> None:
    name = f"published-{uuid.uuid4().hex[:6]}"
    topic = {"Trigger": {"PublishTopic": f"seen/{name}/{{profilename}}/{{DeviceName}}/{{sourcename}}/{{pipelineid}}"}}
    with open_app(name, sections=topic), bus.listen(f"edgex/seen/{name}/#") as ear:
        bus.publish(frame_topic("gate"), frame_message(frame_event("gate", picture())))
        assert ear.next().topic == f"edgex/seen/{name}/detection/gate/lamps/lamps"


@checklist(75)
def test_a_placeholder_nobody_can_fill_in_publishes_nothing(open_app: OpenApp, bus: Bus) -> None:
    name = f"unresolved-{uuid.uuid4().hex[:6]}"
    topic = {"Trigger": {"PublishTopic": f"seen/{name}/{{nobody}}"}}
    with bus.listen(f"edgex/seen/{name}/#") as ear, open_app(name, sections=topic, wait=False) as app:
        bus.publish(frame_topic("gate"), frame_message(frame_event("gate", picture())))
        assert app.process.wait(20) == 1
        assert app.said("level=ERROR", "{nobody} is none of")
        assert ear.is_silent(0.1)


@checklist(76)
def test_core_data_stores_results_as_they_were_published(app: Eye, core: Core, stage: Stage) -> None:
    camera = f"stored-{uuid.uuid4().hex[:6]}"
    stage.show(camera)
    told = result_of(stage, camera)
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
def test_core_data_drops_no_result_and_keeps_the_digits_of_their_values(app: Eye, core: Core, stage: Stage) -> None:
    camera = f"counted-{uuid.uuid4().hex[:6]}"
    for light in range(40, 100):
        known = len(stage.of(camera))
        stage.show(camera, light=light)
        until(lambda known=known: len(stage.of(camera)) > known, "its result")
    told = {it.event["id"]: _values(it.event) for it in stage.of(camera)}
    assert len(told) == 60
    kept = until(lambda: (found := _stored(core, camera)) and len(found) == 60 and found, "core-data has all of them")
    assert kept == told


def _stored(core: Core, camera: str) -> dict[str, Any]:
    answer = requests.get(f"{core.data}/api/v3/event/device/name/{camera}", params={"limit": "-1"}, timeout=WAIT)
    return {event["id"]: _values(event) for event in json.loads(answer.text)["events"]}


def _values(event: dict[str, Any]) -> dict[str, Any]:
    """What we claim to keep: values, Objects to the last digit, tags and the origin in decimal; Go rounds `origin`."""
    values = {it["resourceName"]: it.get("value", it.get("objectValue")) for it in event["readings"]}
    return {**values, "tags": event["tags"]}


def _post(app: Eye, body: bytes, content_type: str = "application/cbor") -> requests.Response:
    return requests.post(f"{app.url}/api/v3/trigger", data=body, headers={"Content-Type": content_type}, timeout=WAIT)


@checklist(77)
def test_with_the_http_trigger_an_event_is_answered_with_its_result(open_app: OpenApp) -> None:
    with open_app(f"asked-{uuid.uuid4().hex[:6]}", sections={"Trigger": {"Type": "http"}}) as app:
        request = {"apiVersion": "v3", "requestId": "", "event": frame_event("gate", picture())}
        for body, content_type in (
            (cbor2.dumps(request), "application/cbor"),
            (json.dumps(_inline(request)).encode(), "application/json"),
        ):
            answer = _post(app, body, content_type)
            assert answer.status_code == 200
            assert answer.json()["event"]["readings"][0]["objectValue"]["objects"][0]["label"] == "lamp"
        assert _post(app, b"{").status_code == 400
        assert _post(app, b"no event", "application/json").status_code == 400
        assert _post(app, cbor2.dumps(frame_event("gate", b"no picture"))).status_code == 422
        assert requests.get(f"{app.url}/api/v3/trigger", timeout=WAIT).status_code == 405


@checklist(78)
def test_a_change_of_its_pipelines_in_core_keeper_takes_effect(app: Eye, core: Core, stage: Stage) -> None:
    place = f"{app.key}/Writable/Pipelines/more"
    try:
        put(core, f"{place}/Model", "meter")
        until(lambda: stage.show("changing") and stage.of("changing", "more"), "the new pipeline answers")
        put(core, f"{place}/Labels", "nothing")
        until(lambda: stage.show("changing") and not stage.of("changing", "more")[-1].said["objects"], "without lamps")
    finally:
        delete(core, place)
    until(lambda: "more" not in app.status()["pipelines"], "it is gone")


@checklist(79)
def test_its_own_results_are_not_looked_at_again(app: Eye, stage: Stage, unique: str) -> None:
    for _ in range(3):
        stage.show(unique)
        time.sleep(0.1)
    until(lambda: len(stage.of(unique)) == 3, "the results")
    time.sleep(0.5)
    assert len(stage.of(unique)) == 3
    row = app.camera(unique)
    assert (row["framesReceived"], row["dropped"]) == (3, {})


@checklist(80)
def test_its_key_says_that_it_is_an_application_service(open_app: OpenApp, core: Core) -> None:
    with open_app("app-inference", "-r", own_key=False) as app:
        name = requests.get(f"{app.url}/api/v3/ping", timeout=WAIT).json()["serviceName"]
        assert name == "app-inference"
        url = f"{core.keeper}/api/v3/registry/all"
        assert "app-inference" in {it["serviceId"] for it in requests.get(url, timeout=WAIT).json()["registrations"]}
