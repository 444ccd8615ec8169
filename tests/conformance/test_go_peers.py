"""Traffic with EdgeX's own Go services: a device service's pictures come in, frames and results go out to app services.

They run against the stand-in and against EdgeX's own core; see go_services.py for where the services are.
"""

import base64
import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest
import requests
import yaml

from tests.conformance.app_process import OpenApp, Stage
from tests.conformance.go_services import GoService, OpenGoService, change_yaml, own_res, running
from tests.conformance.keys import delete
from tests.conformance.peers import WAIT, AddCamera, Bus, Core, Device, Metadata, until

pytestmark = pytest.mark.timeout(120)
checklist = pytest.mark.checklist


# -- device-simple: a Go device service with a picture of its switch


@pytest.fixture
def device_simple(
    go_services: Path, core: Core, metadata: Metadata, tmp_path: Path, unique: str
) -> Iterator[tuple[str, str]]:
    """Key of the service, and a device of it that tells twice a second what it looks like, and that it is switched."""
    key, instance = f"device-simple_{unique}", unique
    res = own_res(go_services, "device-simple", tmp_path)
    change_yaml(next(res.glob("profiles/*.yaml")), lambda profile: profile.update(name=unique))
    for other in res.glob("provisionwatchers/*"):
        other.unlink()
    auto = [{"interval": "500ms", "onChange": False, "sourceName": name} for name in ("Image", "SwitchButton")]
    protocols = {"other": {"Address": "simple01", "Port": 300}}
    devices = [{"name": unique, "profileName": unique, "protocols": protocols, "autoEvents": auto}]
    change_yaml(res / "devices/simple-device.yml", lambda tree: tree.update(deviceList=devices))
    try:
        with running(
            go_services, "device-simple", core.keeper, tmp_path, f"-i={instance}", MESSAGEBUS_OPTIONAL_CLIENTID=key
        ):
            yield key, unique
    finally:
        for path in (f"device/name/{unique}", f"deviceservice/name/{key}", f"deviceprofile/name/{unique}"):
            metadata.delete(path)
        delete(core, key)


def _lightness(picture: Path) -> float:
    """What the meter says of it, 0..1."""
    pixels = cv2.imread(str(picture))
    assert pixels is not None
    return float(pixels.mean() / 255)


@checklist(72, 76)
def test_pictures_of_a_go_device_service_are_analysed_and_its_other_events_counted(
    open_app: OpenApp, core: Core, stage: Stage, device_simple: tuple[str, str], go_services: Path
) -> None:
    service, device = device_simple
    res = go_services / "conf/device-simple/res"
    topics = {"Trigger": {"SubscribeTopics": f"events/device/{service}/#"}}
    command = f"{core.command}/api/v3/device/name/{device}"
    with open_app(f"app-{uuid.uuid4().hex[:6]}", "-r", sections=topics) as app:
        stage.service = app.key
        for switch, file in (("false", "off.jpg"), ("true", "on.png")):
            assert requests.put(f"{command}/Switch", json={"SwitchButton": switch}, timeout=WAIT).status_code == 200
            shown = partial(_score_is, stage, device, _lightness(res / file))
            until(shown, f"a result for {file}")
        told = stage.of(device)[-1]
        height, width = cv2.imread(str(res / "on.png")).shape[:2]
        assert (told.said["image"]["width"], told.said["image"]["height"]) == (width, height)
        assert told.topic == f"edgex/events/device/{app.key}/detection/{device}/lamps"
        row = until(lambda: (it := app.camera(device)).get("dropped") and it, "what holds no picture is counted")
        assert set(row["dropped"]) <= {"NoPicture", "Replaced"}
        assert row["dropped"]["NoPicture"] > 0
    known = requests.get(f"{core.data}/api/v3/event/device/name/{device}", timeout=WAIT).json()["events"]
    assert {it["profileName"] for it in known} == {device, "detection"}, "its own events and ours, side by side"


def _score_is(stage: Stage, device: str, expected: float) -> bool:
    told = stage.of(device)
    return bool(told) and told[-1].said["objects"][0]["score"] == pytest.approx(expected, abs=0.004)


# -- app-service-template and app-service-configurable: Go app services that are shown what we publish


@pytest.fixture
def open_go_app(go_services: Path, core: Core, tmp_path: Path) -> OpenGoService:
    """`with open_go_app("app-service-template", {"Trigger": ...}) as service`: its configuration, changed."""

    @contextlib.contextmanager
    def run(name: str, sections: dict[str, Any], **environ: str) -> Iterator[GoService]:
        key = f"app-go-{uuid.uuid4().hex[:6]}"
        res = tmp_path / name / "res"
        if (go_services / "conf" / name).is_dir():
            own_res(go_services, name, tmp_path)
        else:
            res.mkdir(parents=True)
            (res / "configuration.yaml").write_text(yaml.safe_dump({"Writable": {"LogLevel": "INFO"}}))
        own = {"Service": {"Host": "localhost", "Port": 0}, "MessageBus": {"Optional": {"ClientId": key}}}

        def change(tree: Any) -> None:
            for section, keys in {**own, **sections}.items():
                tree[section] = {**tree.get(section, {}), **keys}

        change_yaml(res / "configuration.yaml", change)
        try:
            with running(go_services, name, core.keeper, tmp_path, f"-sk={key}", **environ) as service:
                yield service
        finally:
            delete(core, key)

    return run


@checklist(21, 50, 51, 76)
def test_a_go_app_service_reads_our_frames_and_results(
    open_go_app: OpenGoService, open_app: OpenApp, add_camera: AddCamera, bus: Bus, device: Device
) -> None:
    camera, out = add_camera(), f"xml-{uuid.uuid4().hex[:6]}"
    sections = {
        "ApplicationSettings": {"DeviceNames": camera},
        "Trigger": {"SubscribeTopics": "frames/#, events/device/#", "PublishTopic": out},
    }
    with contextlib.ExitStack() as opened:
        app = opened.enter_context(open_app(f"app-{uuid.uuid4().hex[:6]}"))
        template = opened.enter_context(open_go_app("app-service-template", sections))
        until(lambda: template.said("Resource=Frame") and template.said("Resource=TopLabel"), "it hears")
        frames = opened.enter_context(bus.listen(f"edgex/frames/{device.service}/+/{camera}/#"))
        results = opened.enter_context(bus.listen(f"edgex/events/device/{app.key}/+/{camera}/#"))
        passed_on = opened.enter_context(bus.listen(f"edgex/{out}"))
        frame = frames.next().payload["event"]["readings"][0]
        size = len(frame["binaryValue"])
        words = (f"ID={frame['id']}", "Resource=Frame", "MediaType=image/jpeg", f"BinaryValue of size=`{size}`")
        until(lambda: template.said(*words), "it has told of the frame")
        result = results.next().payload["event"]
        for reading in result["readings"][1:]:
            words = (f"ID={reading['id']}", f"Resource={reading['resourceName']}", f"Value=`{reading['value']}`")
            until(lambda words=words: template.said(*words), f"it has told of {reading['resourceName']}")
        xml = base64.b64decode(passed_on.next().payload).decode()
        assert f"<DeviceName>{camera}</DeviceName>" in xml
        assert "<SourceName>Frame</SourceName>" in xml, "Go has no XML for a result's Object reading"
    complaints = template.said("level=ERROR")
    assert [it for it in complaints if "failed to convert event to XML" not in it] == []


@contextlib.contextmanager
def _exports() -> Iterator[tuple[str, list[Any]]]:
    """Where events may be posted, and those that came; numbers keep their digits."""
    came: list[Any] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(json.loads(body, parse_float=Decimal))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", came
        finally:
            server.shutdown()
            thread.join()


def _origins_of(exported: Any, event: Any, drift: int) -> dict[str, Any]:
    """What of `event` holds origins, with the exported ones, which are off by `drift` ns at the most."""
    pairs = [(exported, event), *zip(exported["readings"], event["readings"], strict=True)]
    assert max(abs(ours["origin"] - theirs["origin"]) for theirs, ours in pairs) <= drift
    return {
        "origin": exported["origin"],
        "readings": [{**ours, "origin": theirs["origin"]} for theirs, ours in pairs[1:]],
    }


def _named(came: list[Any], event: dict[str, Any]) -> Any:
    return next((it for it in came if it["id"] == event["id"]), None)


@checklist(21, 50, 51, 76)
def test_a_go_app_service_exports_our_frames_and_results_as_they_were(
    open_go_app: OpenGoService, open_app: OpenApp, add_camera: AddCamera, bus: Bus, device: Device
) -> None:
    camera = add_camera()
    with _exports() as (url, came), open_app(f"app-{uuid.uuid4().hex[:6]}") as app:
        export = {"Method": "post", "Url": url, "MimeType": "application/json"}
        sections = {
            "Writable": {"LogLevel": "INFO", "Pipeline": _pipeline(camera, HTTPExport=export)},
            "Trigger": {"SubscribeTopics": "frames/#, events/device/#"},
        }
        with contextlib.ExitStack() as opened:
            service = opened.enter_context(open_go_app("app-service-configurable", sections))
            until(lambda: {it["sourceName"] for it in came} == {"Frame", "lamps"}, "it hears")
            frames = opened.enter_context(bus.listen(f"edgex/frames/{device.service}/+/{camera}/#"))
            results = opened.enter_context(bus.listen(f"edgex/events/device/{app.key}/+/{camera}/#"))
            for ear, drift in ((frames, 0), (results, 256)):  # Go holds numbers of a JSON payload as float64
                event = _with_digits(ear.next().payload["event"])
                exported = until(partial(_named, came, event), "it has exported it")
                assert exported == event | _origins_of(exported, event, drift)
        assert not service.said("level=ERROR")


def _with_digits(event: dict[str, Any]) -> Any:
    """As Go writes an event in JSON: bytes in base64; numbers keep their digits."""
    return json.loads(json.dumps(event, default=lambda raw: base64.b64encode(raw).decode()), parse_float=Decimal)


def _pipeline(camera: str, **last: dict[str, str]) -> dict[str, Any]:
    """Only this camera's events, then the last function."""
    named = {"FilterByDeviceName": {"DeviceNames": f"^{camera}$", "FilterOut": "false"}, **last}
    functions = {name: {"Parameters": parameters} for name, parameters in named.items()}
    return {"ExecutionOrder": ", ".join(named), "Functions": functions}


@checklist(76)
def test_a_go_app_service_writes_the_scalars_of_a_result_in_xml(
    open_go_app: OpenGoService, open_app: OpenApp, stage: Stage, unique: str, bus: Bus
) -> None:
    out = f"xml-{uuid.uuid4().hex[:6]}"
    with open_app(f"app-{uuid.uuid4().hex[:6]}") as app:
        scalars = {"ResourceNames": "ObjectCount, TopLabel, TopScore", "FilterOut": "false"}
        steps = {"FilterByResourceName": scalars, "Transform": {"Type": "xml"}}
        pipeline = _pipeline(unique, **steps, SetResponseData={"ResponseContentType": "application/xml"})
        sections = {
            "Writable": {"LogLevel": "INFO", "Pipeline": pipeline},
            "Trigger": {"SubscribeTopics": f"events/device/{app.key}/#", "PublishTopic": out},
        }
        with open_go_app("app-service-configurable", sections) as service, bus.listen(f"edgex/{out}") as passed_on:
            stage.show(unique, light=180)
            said = passed_on.next()
            (told,) = stage.of(unique)
        assert not service.said("level=ERROR")
    assert said.envelope["contentType"] == "application/xml"
    xml = base64.b64decode(said.payload).decode()
    for reading in told.event["readings"][1:4]:
        assert f"<ResourceName>{reading['resourceName']}</ResourceName>" in xml
        assert f"<Value>{reading['value']}</Value>" in xml


@checklist(20, 73)
def test_frames_that_a_go_app_service_passed_on_are_analysed(
    open_go_app: OpenGoService, open_app: OpenApp, stage: Stage, unique: str, bus: Bus
) -> None:
    out = f"passed-{uuid.uuid4().hex[:6]}"
    sections = {
        "Writable": {"LogLevel": "INFO", "Pipeline": _pipeline(unique, SetResponseData={"ResponseContentType": ""})},
        "Trigger": {"SubscribeTopics": "frames/#", "PublishTopic": f"{out}/{{receivedtopic}}"},
    }
    topics = {"Trigger": {"SubscribeTopics": f"{out}/#"}}
    with (
        open_app(f"app-{uuid.uuid4().hex[:6]}", sections=topics) as app,
        open_go_app("app-service-configurable", sections),
        bus.listen(f"edgex/{out}/#") as passed_on,
    ):
        stage.service = app.key
        frame_id = stage.show(unique, light=180)
        said = passed_on.next()
        assert isinstance(said.envelope["payload"], str), "Go hands its pipelines' output on in base64"
        (told,) = until(lambda: stage.of(unique), "a result")
        assert told.said["frameId"] == frame_id
        assert told.said["objects"][0]["score"] == pytest.approx(180 / 255, abs=0.01)
