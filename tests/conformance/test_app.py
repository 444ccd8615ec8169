"""An application service as EdgeX expects it, over HTTP and MQTT.

The checklist's points 1, 2, 5, 11 to 13, 17 to 19, 24, 25, 74 and 80. The same tests run against the stand-in and
against EdgeX's own services.
"""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import cbor2
import pytest
import requests

from tests.conformance.app_process import App, OpenApp, Stage, frame_event, open_stage, picture, post, result_of
from tests.conformance.keys import put
from tests.conformance.peers import WAIT, Bus, Core, short, until
from tests.conformance.rival import take_over

pytestmark = pytest.mark.timeout(120)
checklist = pytest.mark.checklist


@checklist(1, 5)
def test_ping_says_who_and_when(app: App) -> None:
    body = requests.get(f"{app.url}/api/v3/ping", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", app.key)
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}", body["timestamp"])


@checklist(2, 5)
def test_version_says_which_and_of_which_sdk(app: App) -> None:
    body = requests.get(f"{app.url}/api/v3/version", timeout=WAIT).json()
    assert (body["apiVersion"], body["serviceName"]) == ("v3", app.key)
    assert body["version"]
    assert body["sdk_version"].startswith("4.")


@checklist(11, 12, 13)
def test_it_registers_is_up_and_leaves_with_halt(open_app: OpenApp, core: Core) -> None:
    name = f"known-{short()}"
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


@checklist(17)
def test_enabled_metrics_are_published_every_interval(app: App, core: Core, bus: Bus, app_stage: Stage) -> None:
    with bus.listen(f"edgex/telemetry/{app.key}/#") as ear:
        put(core, f"{app.key}/Writable/Telemetry/Metrics/MessagesReceived", "true")
        put(core, f"{app.key}/Writable/Telemetry/Interval", "1s")
        app_stage.show("metered")
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
    name = f"alone-{short()}"
    with open_app(name, MESSAGEBUS_OPTIONAL_CLIENTID="") as app, open_stage(*core.broker) as stage:
        stage.service = app.key
        stage.show("before")
        result_of(stage, "before")
        for _ in range(2):
            lost = len(app.said("no message broker"))
            take_over(core, app.key, lambda lost=lost: len(app.said("no message broker")) > lost)
            stage.show("after")
            known = len(stage.of("after"))
            until(lambda known=known: stage.show("after") and len(stage.of("after")) > known, "it hears again", 20)


@checklist(24)
def test_an_answer_that_takes_longer_than_allowed_is_a_503(open_app: OpenApp) -> None:
    slow = {"Trigger": {"Type": "http"}, "Service": {"RequestTimeout": "200ms"},
            "Writable": {"Pipelines": {"lamps": {"Model": "labour"}}}}  # fmt: skip
    with open_app(f"slow-{short()}", sections=slow) as app:
        event = cbor2.dumps(frame_event("gate", picture(255)))
        answer = post(app, event)
        assert (answer.status_code, answer.text) == (503, "Request timed out")


@checklist(25)
def test_a_body_over_the_limit_is_refused(open_app: OpenApp, core: Core) -> None:
    name = f"limits-{short()}"
    put(core, f"app-{name}/Service/MaxRequestSize", "1")
    with open_app(name) as app:
        answer = requests.post(f"{app.url}/api/v3/secret", data="x" * 2000, timeout=WAIT)
        assert answer.status_code == 413
        assert "Service.MaxRequestSize(1 KB)" in answer.json()["message"]


@checklist(74)
def test_another_major_version_of_core_metadata_ends_the_start(open_app: OpenApp, core: Core) -> None:
    name = f"major-{short()}"
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


@checklist(80)
def test_its_key_says_that_it_is_an_application_service(open_app: OpenApp, core: Core) -> None:
    with open_app("app-inference", "-r", own_key=False) as app:
        name = requests.get(f"{app.url}/api/v3/ping", timeout=WAIT).json()["serviceName"]
        assert name == "app-inference"
        url = f"{core.keeper}/api/v3/registry/all"
        assert "app-inference" in {it["serviceId"] for it in requests.get(url, timeout=WAIT).json()["registrations"]}
