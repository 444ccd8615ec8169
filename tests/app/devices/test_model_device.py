"""Models as EdgeX devices: commands through core-command and the bus while frames flow, requests, locks, ends."""

import contextlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from app_inference.devices.model_device import ModelState, is_managed
from app_inference.inference.model import load_model
from app_inference.models.repository import Repository
from app_inference.pipeline.samples import Sample
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout.reported import ModelReport, VersionReport
from app_inference.rollout.steps import Step
from edgex_standin.address import free_port

from tests.app.model_gateway import QUICK, Bus, Gateway
from tests.app.updating import MODEL, RUNTIME, write_version
from tests.conformance.app_process import configure, open_stage, run_app
from tests.conformance.peers import until
from tests.conftest import run_standin

pytestmark = pytest.mark.timeout(90)
CAR, PERSON = ((1, 0.9),), ((0, 0.9),)


@pytest.fixture
def open_gateway(edgex: Any, tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts app-inference with two versions of a model, 1.0.0 serving."""
    with contextlib.ExitStack() as open_things:

        def start(*flags: str, pipelines: dict[str, Any] | None = None) -> Gateway:
            key = f"app-{uuid.uuid4().hex[:6]}"
            write_version(tmp_path / "models", "1.0.0", PERSON, license="Apache-2.0")
            telemetry = {"Interval": "1s", "Metrics": {"Model": True}}
            configure(tmp_path, Writable={"Pipelines": pipelines or {"p": {"Model": MODEL}}, "Telemetry": telemetry})
            app = open_things.enter_context(
                run_app(tmp_path, f"-cp={edgex.provider}", "-r", *flags, key=key, SERVICE_PORT="0")
            )
            stage = open_things.enter_context(open_stage(edgex.broker.host, edgex.broker.port))
            stage.service = key
            gateway = Gateway(app, stage, edgex, tmp_path / "models", tmp_path)
            if pipelines is None:
                until(lambda: app.said(f"is device '{gateway.device}'"), "the device is there", 20)
            return gateway

        yield start


@pytest.fixture
def gateway(open_gateway: Callable[..., Gateway]) -> Gateway:
    return open_gateway()


@pytest.mark.goal(36, 31)
def test_a_model_is_a_device_with_what_is_known_of_it(gateway: Gateway) -> None:
    known = gateway.known()
    assert (known["profileName"], known["operatingState"], known["adminState"]) == ("openvino-model", "UP", "UNLOCKED")
    properties = known["properties"]
    assert (properties["version"], properties["license"], properties["task"]) == ("1.0.0", "Apache-2.0", "detection")
    assert properties["metadata"]["labels"] == {"value": ["person", "car", "dog"], "origin": "manifest"}
    assert len(properties["digest"]) == 64
    record = requests.get(f"{gateway.edgex.metadata}/api/v3/deviceservice/name/{gateway.app.key}", timeout=5).json()
    assert record["service"]["baseAddress"] == gateway.app.url


@pytest.mark.goal(21, 36)
def test_every_resource_can_be_read(gateway: Gateway) -> None:
    profile = requests.get(f"{gateway.edgex.metadata}/api/v3/deviceprofile/name/openvino-model", timeout=5).json()
    readable = [it["name"] for it in profile["profile"]["deviceResources"] if "R" in it["properties"]["readWrite"]]
    assert len(readable) > 15
    for name in readable:
        gateway.get(name)
    url = f"{gateway.edgex.command}/api/v3/device/name/{gateway.device}/GetModelMetaData"
    readings = {it["resourceName"] for it in requests.get(url, timeout=5).json()["event"]["readings"]}
    assert {"ActiveVersion", "Digest", "Labels", "Metadata", "Licence"} <= readings


@pytest.mark.goal(21, 35)
def test_a_version_is_deployed_through_core_command_while_frames_flow_and_taken_back(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", PERSON)
    with gateway.frames() as flow:
        gateway.deploy("2.0.0")
        gateway.settled("2.0.0")
        until(lambda: flow.versions()[-1] == "2.0.0", "its results come")
        assert gateway.get("PreviousVersion") == "1.0.0"
        assert gateway.put("Rollback", "true").status_code == 200
        gateway.settled("1.0.0")
        until(lambda: flow.versions()[-1] == "1.0.0", "the results of the one before come again")
    row = until(lambda: gateway.accounted(flow), "every frame is accounted for")
    assert set(row["dropped"]) <= {"Replaced"}, "an update costs no frame"
    until(lambda: len(gateway.stage.of(flow.camera)) == row["framesAnalysed"], "every result is told")
    seqs = [it.said["seq"] for it in gateway.stage.of(flow.camera)]
    assert seqs == sorted(set(seqs)), "a result is doubled or out of order"
    asked = gateway.app.said("Deploy", "asked by command ")
    assert len(asked) == 1
    assert gateway.app.said("Rollback true", "asked by command ")


@pytest.mark.goal(21)
def test_an_operator_takes_back_a_version_that_finds_other_things_and_no_gate_objects(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", CAR)
    with gateway.frames() as flow:
        gateway.deploy("2.0.0", promoted=True)
        gateway.settled("2.0.0")
        until(lambda: flow.labels()[-50:] == ["car"] * 50, "it has looked at many frames")
        assert gateway.put("Rollback", "true").status_code == 200
        gateway.settled("1.0.0")
        time.sleep(0.5)
        assert gateway.get("ActiveVersion") == "1.0.0"
        assert gateway.get("AvailableVersions")["quarantined"] == []


@pytest.mark.goal(21, 38)
def test_a_quiet_scene_waits_for_promote(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", PERSON)
    gateway.deploy("2.0.0")
    until(lambda: gateway.get("State") == "OBSERVE", "it is observed", 20)
    until(lambda: "of 30 frames" in gateway.get("Reason"), "it says what it waits for")
    assert gateway.put("Promote", "true").status_code == 200
    gateway.settled("2.0.0")
    answer = gateway.put("Promote", "true")
    assert answer.status_code == 409
    assert "no candidate to promote" in answer.text


@pytest.mark.goal(21, 38)
def test_a_version_that_is_not_there_is_refused_with_its_reason(gateway: Gateway) -> None:
    answer = gateway.put("Deploy", "9.9.9")
    assert answer.status_code == 404
    assert "no version '9.9.9'" in answer.text
    answer = gateway.put("Deploy", '{"version": "1.0.0", "strategi": "swap"}')
    assert answer.status_code == 400
    assert "strategi" in answer.text
    assert gateway.get("ActiveVersion") == "1.0.0"
    assert gateway.app.said("Deploy 9.9.9 refused", "asked by command ")


@pytest.mark.goal(19, 21, 36, 38)
def test_a_bad_version_goes_back_by_itself_and_the_device_says_why(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", CAR)
    with gateway.frames() as flow:
        until(lambda: len(flow.versions()) > 60, "there is something to compare with", 20)
        gateway.deploy("2.0.0")
        until(lambda: gateway.get("AvailableVersions")["quarantined"] == ["2.0.0"], "it went back", 30)
        assert "minAgreement" in gateway.get("Reason")
        again = gateway.put("Deploy", "2.0.0")
        assert again.status_code == 409
        assert "2.0.0 is quarantined: " in again.text
        until(lambda: flow.versions()[-1] == "1.0.0", "the version before serves")
    until(lambda: "minAgreement" in str(gateway.known()["properties"]["reported"]), "core-metadata knows")
    assert gateway.known()["operatingState"] == "UP"


@pytest.mark.goal(36)
def test_locked_means_do_not_update_whichever_way_it_is_asked(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", PERSON)
    gateway.patch(adminState="LOCKED")
    until(lambda: gateway.put("Threshold", "0.5").status_code == 423, "commands are refused")
    assert gateway.put("Deploy", "2.0.0").status_code == 423
    request = {"generation": 50, "models": {MODEL: {"version": "2.0.0"}}}
    requests.put(gateway.key("Desired"), json={"value": json.dumps(request)}, timeout=5).raise_for_status()
    until(lambda: "LOCKED" in gateway.reported().get("models", {}).get(MODEL, {}).get("reason", ""), "it says so", 20)
    assert gateway.reported()["models"][MODEL]["active"]["version"] == "1.0.0"
    gateway.patch(adminState="UNLOCKED")
    until(lambda: gateway.reported()["models"][MODEL]["active"]["version"] == "2.0.0", "the request is followed", 20)


@pytest.mark.goal(21)
def test_the_threshold_is_live_and_what_is_no_threshold_is_refused(gateway: Gateway) -> None:
    assert gateway.put("Threshold", "0.95").status_code == 200
    until(lambda: float(gateway.get("Threshold")) == pytest.approx(0.95), "it is in force")
    assert gateway.put("Threshold", "1.5").status_code == 400
    with gateway.frames() as flow:
        until(lambda: len(gateway.stage.of(flow.camera)) > 3, "results come")
        assert gateway.stage.of(flow.camera)[-1].said["objects"] == []
    assert gateway.get("ActiveVersion") == "1.0.0"


@pytest.mark.goal(21, 28)
def test_a_self_test_finds_a_byte_that_was_flipped(gateway: Gateway) -> None:
    assert gateway.put("SelfTest", "true").status_code == 200
    weights = gateway.models / MODEL / "1.0.0" / "model.bin"
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    answer = gateway.put("SelfTest", "true")
    assert answer.status_code == 500
    assert "self-test failed: its files are" in answer.text


@pytest.mark.goal(21)
def test_commands_over_the_bus_go_through_the_same_doors(gateway: Gateway) -> None:
    bus = Bus(gateway.edgex)
    try:
        said = bus.ask(gateway.device, "GetModelState", "get", None)
        assert said["errorCode"] == 0
        values = {it["resourceName"]: it.get("value") for it in said["payload"]["event"]["readings"]}
        assert (values["State"], values["ActiveVersion"]) == ("IDLE", "1.0.0")
        said = bus.ask(gateway.device, "Deploy", "set", {"Deploy": "9.9.9"})
        assert said["errorCode"] == 1
        assert "no version '9.9.9'" in str(said["payload"])
        write_version(gateway.models, "2.0.0", PERSON)
        said = bus.ask(gateway.device, "Deploy", "set", {"Deploy": json.dumps({"version": "2.0.0", "promoted": True})})
        assert said["errorCode"] == 0
        gateway.settled("2.0.0")
        assert gateway.app.said("Deploy", f"asked by command {said['correlationID']}")
    finally:
        bus.close()


@pytest.mark.goal(36)
def test_only_our_own_models_are_devices_of_ours(gateway: Gateway) -> None:
    device = {**gateway.known(), "name": "stranger"}
    device.pop("id")
    body = [{"apiVersion": "v3", "device": device}]
    answer = requests.post(f"{gateway.edgex.metadata}/api/v3/device", json=body, timeout=10).json()[0]
    assert answer["statusCode"] == 500
    assert "belongs to no model" in answer["message"]


@pytest.mark.goal(39)
def test_updates_are_scraped_and_published(gateway: Gateway) -> None:
    bus = Bus(gateway.edgex, f"edgex/telemetry/{gateway.app.key}/#")
    try:
        gateway.put("Deploy", "9.9.9")
        write_version(gateway.models, "2.0.0", PERSON)
        with gateway.frames():
            gateway.deploy("2.0.0")
            gateway.settled("2.0.0")
            until(lambda: "edgex_model_swaps_total{" in gateway.scrape(), "updates are counted")
            scraped = gateway.scrape()
        for family in ("model_rollbacks_total", "model_refusals_total", "model_quarantined", "model_active"):
            assert f"edgex_{family}{{" in scraped
        digest = gateway.get("Digest")[:12]
        active = [it for it in scraped.splitlines() if it.startswith("edgex_model_active{") and it.endswith(" 1.0")]
        assert any(f'digest="{digest}"' in it and 'version="2.0.0"' in it and 'device="CPU"' in it for it in active)
        until(lambda: "ModelSwaps" in bus.heard(), "it is published")
    finally:
        bus.close()


@pytest.mark.goal(35)
def test_a_desired_document_written_by_hand_is_followed(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", PERSON)
    request = {"generation": 7, "models": {MODEL: {"version": "2.0.0", **QUICK}}}
    with gateway.frames():
        requests.put(gateway.key("Desired"), json={"value": json.dumps(request)}, timeout=5).raise_for_status()
        gateway.settled("2.0.0")
    until(lambda: gateway.reported()["generationSeen"] == 7, "it is told")
    assert gateway.reported()["models"][MODEL]["active"]["version"] == "2.0.0"


@pytest.mark.goal(36)
def test_a_model_that_cannot_be_loaded_is_down_and_says_why(open_gateway: Callable[..., Gateway]) -> None:
    gateway = open_gateway(pipelines={"p": {"Model": "nobody"}})
    name = f"model-{gateway.app.key}-nobody"
    url = f"{gateway.edgex.metadata}/api/v3/device/name/{name}"
    until(lambda: requests.get(url, timeout=5).ok, "it is there", 20)
    device = requests.get(url, timeout=5).json()["device"]
    assert device["operatingState"] == "DOWN"
    assert "no model 'nobody'" in device["properties"]["trouble"]


@pytest.mark.goal(36)
def test_a_model_that_could_not_be_loaded_is_brought_back_by_a_deploy(open_gateway: Callable[..., Gateway]) -> None:
    gateway = open_gateway(pipelines={"p": {"Model": "late"}})
    device = f"model-{gateway.app.key}-late"
    command = f"{gateway.edgex.command}/api/v3/device/name/{device}"
    known = f"{gateway.edgex.metadata}/api/v3/device/name/{device}"
    until(lambda: requests.get(known, timeout=5).ok, "it is there", 20)
    until(lambda: requests.get(f"{command}/Reason", timeout=10).ok, "it answers", 20)
    assert requests.put(f"{command}/Threshold", json={"Threshold": "0.5"}, timeout=10).status_code == 503
    shutil.copytree(gateway.models / MODEL, gateway.models / "late")
    manifest = gateway.models / "late" / "1.0.0" / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace(f"name: {MODEL}", "name: late"))
    answer = requests.put(f"{command}/Deploy", json={"Deploy": "1.0.0"}, timeout=10)
    assert answer.status_code == 200, answer.text
    until(lambda: requests.get(known, timeout=5).json()["device"]["operatingState"] == "UP", "it is up", 30)
    with gateway.frames() as flow:
        assert flow.versions()[-1] == "1.0.0"
    assert requests.put(f"{command}/Threshold", json={"Threshold": "0.5"}, timeout=10).status_code == 200


@pytest.mark.goal(36)
def test_the_device_is_retired_with_the_last_pipeline_that_names_its_model(gateway: Gateway) -> None:
    key = f"{gateway.edgex.keeper}/api/v3/kvs/key/edgex/v4/{gateway.app.key}/Writable/Pipelines/p/Enabled"
    requests.put(key, json={"value": "false"}, timeout=5).raise_for_status()
    until(lambda: not gateway.known(), "it is gone", 20)
    requests.put(key, json={"value": "true"}, timeout=5).raise_for_status()
    until(lambda: gateway.known().get("operatingState") == "UP", "it is back", 20)


@pytest.mark.goal(36)
def test_a_device_that_somebody_deletes_stays_away_and_its_model_serves_on(gateway: Gateway) -> None:
    requests.delete(f"{gateway.edgex.metadata}/api/v3/device/name/{gateway.device}", timeout=5).raise_for_status()
    until(lambda: gateway.app.said("was deleted; its model serves on"), "it is followed")
    answer = requests.get(f"{gateway.app.url}/api/v3/device/name/{gateway.device}/State", timeout=5)
    assert answer.status_code == 404
    time.sleep(3)  # longer than the service takes to look again
    assert not gateway.known()
    with gateway.frames() as flow:
        assert flow.versions()


@pytest.mark.fault(1, 17)
def test_an_observed_update_changes_its_device_a_few_times_and_not_with_every_number(gateway: Gateway) -> None:
    write_version(gateway.models, "2.0.0", PERSON)
    bus = Bus(gateway.edgex, "edgex/system-events/core-metadata/device/update/#")
    try:
        with gateway.frames():
            gateway.deploy("2.0.0", observe={"minFrames": 10, "holdSeconds": 4})
            gateway.settled("2.0.0")
            until(lambda: gateway.known()["properties"]["version"] == "2.0.0", "core-metadata knows")
        time.sleep(1)
        updates = [it for it in bus.envelopes("update") if gateway.device in json.dumps(it)]
        assert 2 <= len(updates) <= 10
    finally:
        bus.close()


@pytest.mark.fault(18)
@pytest.mark.parametrize("text", ["created: 2026-13-45", "a: !!int ''", "a: " + "[" * 2000, f"a: {'9' * 5000}"])
def test_a_version_whose_manifest_cannot_be_read_is_refused_as_the_callers_mistake(gateway: Gateway, text: str) -> None:
    (write_version(gateway.models, "2.0.0", PERSON) / "manifest.yaml").write_text(text)
    answer = gateway.put("Deploy", "2.0.0")
    assert 400 <= answer.status_code < 500, answer.text
    assert "manifest.yaml" in answer.text
    assert gateway.get("ActiveVersion") == "1.0.0"


@pytest.mark.system
@pytest.mark.fault(7)
@pytest.mark.timeout(150)
def test_the_device_is_added_again_when_core_metadata_has_lost_its_data(broker: Any, tmp_path: Path) -> None:
    ports = [f"--{it}-port={free_port('127.0.0.1')}" for it in ("keeper", "metadata", "data", "command")]
    options = ("--state=:memory:", f"--broker={broker}", *ports)
    write_version(tmp_path / "models", "1.0.0", PERSON)
    configure(tmp_path, Writable={"Pipelines": {"p": {"Model": MODEL}}})
    key = f"app-{uuid.uuid4().hex[:6]}"
    with contextlib.ExitStack() as running:
        with run_standin(*options) as edgex:
            app = running.enter_context(run_app(tmp_path, f"-cp={edgex.provider}", "-r", key=key, SERVICE_PORT="0"))
            url = f"{edgex.metadata}/api/v3/device/name/model-{key}-{MODEL}"
            until(lambda: requests.get(url, timeout=5).ok, "the device is there", 30)
        with run_standin(*options):
            until(lambda: requests.get(url, timeout=5).ok, "the device is there again", 90)
        assert not app.said("was deleted; its model serves on")


TRYING = VersionReport("2.0.0", digest="abc")


@pytest.fixture
def slot(tmp_path: Path) -> ServedModel:
    write_version(tmp_path, "1.0.0", license="MIT", provenance={"trainer": "somebody"})
    return ServedModel(MODEL, load_model(Repository(tmp_path).version(MODEL, "1.0.0"), None, RUNTIME))


def state(slot: ServedModel | None, failure: str = "", **report: object) -> ModelState:
    told = ModelReport(**{"state": Step.IDLE, **report})  # type: ignore[arg-type]
    return ModelState(MODEL, slot, failure, told, None, 0.0)


@pytest.mark.goal(38)
@pytest.mark.parametrize("step", list(Step))
def test_a_model_that_serves_is_ready_whatever_is_being_tried(slot: ServedModel, step: Step) -> None:
    it = state(slot, state=step, candidate=TRYING, reason="5 of 200 frames")
    assert (it.trouble(), it.reason) == ("", "5 of 200 frames")


@pytest.mark.goal(38)
def test_a_quarantined_candidate_leaves_it_ready_and_is_told(slot: ServedModel) -> None:
    it = state(slot, quarantined=("2.0.0",), reason="finds other classes")
    assert it.trouble() == ""
    reported = it.properties()["reported"]
    assert (list(reported["quarantined"]), reported["reason"]) == (["2.0.0"], "finds other classes")


@pytest.mark.goal(38)
def test_a_model_that_could_not_be_loaded_is_not_ready_and_says_why() -> None:
    it = state(None, "its weights are cut off")
    assert (it.trouble(), it.reason, it.threshold) == ("its weights are cut off", "its weights are cut off", 0.0)
    assert it.properties()["trouble"] == "its weights are cut off"
    assert it.metadata() == {}


@pytest.mark.goal(38)
@pytest.mark.parametrize(
    ("failed", "frames", "is_ready"), [(0, 40, True), (10, 40, True), (30, 40, False), (3, 4, True)]
)
def test_a_model_that_fails_on_most_pictures_is_not_ready(
    slot: ServedModel, failed: int, frames: int, is_ready: bool
) -> None:
    for number in range(frames):
        slot.observe(slot.model, "gate", Sample(1.0, is_error=number < failed))
    assert (state(slot).trouble() == "") is is_ready


@pytest.mark.goal(31, 36)
def test_what_is_known_of_it_says_who_said_so(slot: ServedModel) -> None:
    known = state(slot).properties()
    assert known["license"] == "MIT"
    assert known["metadata"]["license"] == {"value": "MIT", "origin": "manifest"}
    assert known["metadata"]["trainer"] == {"value": "somebody", "origin": "manifest"}
    assert known["metadata"]["type"] == {"value": "ssd", "origin": "manifest"}
    assert known["metadata"]["confidence"]["origin"] == "default"


@pytest.mark.parametrize("key", ["pedestrian-ssdlite", "yolo11n", "a.b_c-2"])
def test_a_name_alone_can_be_updated(key: str) -> None:
    assert is_managed(key)


@pytest.mark.parametrize("key", ["det@1.0.0", "/models/det", "det as ssd", "models/det/1", "det.xml", "", "-x"])
def test_a_version_a_path_and_a_type_of_ones_own_are_left_alone(key: str) -> None:
    assert not is_managed(key)
