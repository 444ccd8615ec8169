"""A change of Writable.Pipelines in core-keeper takes effect while frames flow, and costs none."""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from app_inference.inference.model import load_model
from app_inference.models.repository import Repository
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan, plan_from
from app_inference.pipeline.reload import LivePipelines, pipeline_states
from app_inference.pipeline.serving import Models, Preparation, wanted_models
from app_inference.rollout.journal import Journal, Starts
from app_inference.settings import AppWritable, InferenceSection, PipelineSection

from tests.conformance.app_process import METER, App, Stage, Told, configure, open_stage, run_app, save_meter
from tests.conformance.peers import until

pytestmark = pytest.mark.timeout(60)


@dataclass
class Rig:
    """A pipeline of a running service, a camera of its own that never stops, and core-keeper's keys."""

    app: App
    stage: Stage
    keeper: str
    name: str  # of the pipeline and of the camera
    shown: int = 0

    def film(self, over: threading.Event) -> None:
        while not over.is_set():
            self.stage.show(self.name, 200, self.shown)
            self.shown += 1
            over.wait(0.03)

    def put(self, value: str, *key: str) -> None:
        requests.put(self._url(*key), json={"value": value}, timeout=5).raise_for_status()

    def delete(self, *key: str) -> None:
        requests.delete(self._url(*key), params={"prefixMatch": "true"}, timeout=5).raise_for_status()

    def result(self, fits: Callable[[Told], Any], what: str, pipeline: str = "") -> Told:
        """The first result from now on that fits."""
        known = len(self.of(pipeline))
        found: Told = until(lambda: next(filter(fits, self.of(pipeline)[known:]), None), what)
        return found

    def of(self, pipeline: str = "") -> list[Told]:
        return self.stage.of(self.name, pipeline or self.name)

    def row(self) -> dict[str, Any]:
        return self.app.camera(self.name)

    def lost_none(self) -> bool:
        """Whether no frame was lost: on a busy machine a newer one may have taken its place, and nothing else."""
        row = self.row()
        return (
            set(row["dropped"]) <= {"Replaced"}
            and row["framesAnalysed"] + row["framesReplaced"] == row["framesReceived"]
        )

    def _url(self, *key: str) -> str:
        path = "/".join(("edgex/v4", self.app.key, "Writable/Pipelines", *key))
        return f"{self.keeper}/api/v3/kvs/key/{path}"


@pytest.fixture(scope="module")
def app(edgex: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("reload")
    for name, label in (("meter", "lamp"), ("second", "torch"), ("third", "fire")):
        save_meter(folder / "models", name, label=label)
    bus = {"Host": edgex.broker.host, "Port": edgex.broker.port}
    configure(folder, MessageBus=bus, Writable={"Pipelines": {"other": {**METER, "Cameras": "nobody"}}})
    with run_app(folder, f"-cp={edgex.provider}", key=f"app-reload-{uuid.uuid4().hex[:6]}") as app:
        yield app


@pytest.fixture
def rig(edgex: Any, app: App, unique: str) -> Iterator[Rig]:
    over = threading.Event()
    with open_stage(edgex.broker.host, edgex.broker.port) as stage:
        stage.service = app.key
        rig = Rig(app, stage, edgex.keeper, unique)
        rig.put("meter", unique, "Model")
        rig.put(unique, unique, "Cameras")
        until(lambda: app.status()["pipelines"].get(unique, {}).get("Cameras") == unique, "the pipeline is there")
        filming = threading.Thread(target=rig.film, args=(over,))
        filming.start()
        try:
            until(rig.of, "a first result")
            yield rig
        finally:
            over.set()
            filming.join()
            rig.delete(unique)
            until(lambda: unique not in app.status()["pipelines"], "the pipeline is gone")


@pytest.mark.goal(11)
def test_threshold_and_labels_take_effect_without_losing_a_frame(rig: Rig) -> None:
    rig.put("0.9", rig.name, "Threshold")
    rig.result(lambda it: it.said["objects"] == [], "nothing is above 0.9")
    rig.put("0.3", rig.name, "Threshold")
    rig.result(lambda it: it.said["objects"], "something is above 0.3")
    rig.put("torch, fire", rig.name, "Labels")
    rig.result(lambda it: it.said["objects"] == [], "a lamp is not wanted")
    rig.put("lamp", rig.name, "Labels")
    rig.result(lambda it: it.said["objects"], "a lamp is wanted")
    assert rig.lost_none()


@pytest.mark.goal(11)
def test_a_new_model_is_loaded_beside_the_old_one_and_no_frame_is_lost(rig: Rig) -> None:
    rig.put("third", rig.name, "Model")
    swapped = rig.result(lambda it: it.said["model"]["name"] == "third", "the third model serves")
    assert swapped.said["objects"][0]["label"] == "fire"
    rig.put("second", rig.name, "Model")
    rig.result(lambda it: it.said["model"]["name"] == "second", "and the second")
    until(lambda: rig.app.said("model 'third' is not used any more"), "the third model is let go")
    assert {row["name"] for row in rig.app.status()["models"]} == {"meter", "second"}
    assert rig.lost_none()


def test_cameras_rate_and_enabled_take_effect(rig: Rig) -> None:
    rig.put("5", rig.name, "Rate")
    until(lambda: rig.row()["dropped"].get("Rate", 0) > 10, "frames over the rate are dropped")
    rig.put("0", rig.name, "Rate")
    rig.put(f"{rig.name}-yard, dock", rig.name, "Cameras")
    until(lambda: rig.row()["dropped"].get("NoPipeline", 0) > 5, "this camera is not looked at")
    rig.stage.show(f"{rig.name}-yard")
    until(lambda: rig.stage.of(f"{rig.name}-yard"), "another one is")
    rig.put("false", rig.name, "Enabled")
    until(lambda: not rig.app.status()["pipelines"][rig.name]["Enabled"], "it is off")
    rig.put(rig.name, rig.name, "Cameras")
    rig.put("true", rig.name, "Enabled")
    rig.result(bool, "this camera is looked at again")
    row = rig.row()
    assert row["framesAnalysed"] + sum(row["dropped"].values()) == row["framesReceived"]


def test_a_pipeline_comes_key_by_key_and_goes(rig: Rig) -> None:
    more = f"more-{rig.name}"
    rig.put(rig.name, more, "Cameras")  # without a model yet: nothing to take over
    until(lambda: rig.app.said(f"'{more}' refused, it does not run", f"Pipelines.{more}.Model is empty"), "it is said")
    rig.put("second", more, "Model")
    told = rig.result(bool, "the new pipeline's result", more)
    assert (told.event["sourceName"], told.said["pipeline"]) == (more, more)
    assert told.topic.endswith(f"/detection/{rig.name}/{more}")
    rig.put("0.2,0.2,0.8,0.2,0.8,0.8,0.2,0.8", more, "Zones", "doorway")
    rig.result(lambda it: it.said["objects"][0]["zones"] == ["doorway"], "the zone counts", more)
    assert {it["pipeline"] for it in rig.row()["seen"]} == {rig.name, more}
    rig.delete(more)
    until(lambda: more not in rig.app.status()["pipelines"], "it is gone")
    until(lambda: {it["pipeline"] for it in rig.row()["seen"]} == {rig.name}, "and what it saw")
    assert rig.lost_none()


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (("Threshold",), "7", "Threshold 7 is not within 0..1"),
        (("Zones", "yard"), "0,0,1", "Zones: zone 'yard'"),
        (("Model",), "", "Model is empty"),
    ],
)
def test_a_wrong_change_leaves_the_pipeline_as_it_was_and_others_follow(
    rig: Rig, key: tuple[str, ...], value: str, complaint: str
) -> None:
    before = rig.app.status()["pipelines"][rig.name]
    rig.put(value, rig.name, *key)
    until(lambda: rig.app.said(f"pipeline '{rig.name}' refused, it stays as it was", complaint), "it is said")
    rig.result(lambda it: it.said["objects"], "results as before")
    assert rig.app.status()["pipelines"][rig.name] == before
    rig.put(f"nobody-but-{rig.name}", "other", "Cameras")
    until(lambda: rig.name in rig.app.status()["pipelines"]["other"]["Cameras"], "another pipeline follows")
    assert rig.lost_none()


@pytest.mark.fault(6)
def test_a_key_of_the_wrong_type_is_refused_alone_and_named_in_the_state_of_its_pipeline(rig: Rig) -> None:
    rig.put("often", rig.name, "Rate")
    key = f"Writable.Pipelines.{rig.name}.Rate"
    until(lambda: key in rig.app.status()["pipelineStates"][rig.name].get("warning", ""), "the refused key is named")
    rig.put("0.9", rig.name, "Threshold")
    rig.result(lambda it: it.said["objects"] == [], "another key of the pipeline applies")
    rig.put("0", rig.name, "Rate")
    until(lambda: not rig.app.status()["pipelineStates"][rig.name].get("warning"), "nothing is refused any more")
    assert rig.lost_none()


def test_a_model_that_cannot_be_had_leaves_the_old_one_serving_and_is_a_failed_row(rig: Rig) -> None:
    rig.put("nowhere", rig.name, "Model")
    until(lambda: rig.app.said(f"pipeline '{rig.name}' stays as it was, with model 'meter'"), "it is said")
    rig.result(lambda it: it.said["model"]["name"] == "meter", "results as before")
    failed = {row["name"]: row for row in rig.app.status()["models"]}["nowhere"]
    assert failed["state"] == "failed"
    assert "no model 'nowhere'" in failed["reason"]
    rig.put("second", rig.name, "Model")
    rig.result(lambda it: it.said["model"]["name"] == "second", "the next change")
    assert {row["name"] for row in rig.app.status()["models"]} == {"meter", "second"}
    assert rig.lost_none()


@pytest.mark.fault(6)
def test_a_wrong_pipeline_does_not_keep_the_others_from_starting(edgex: Any, tmp_path: Path, unique: str) -> None:
    save_meter(tmp_path / "models")
    bus = {"Host": edgex.broker.host, "Port": edgex.broker.port}
    pipelines = {"wrong": {**METER, "Threshold": 7}, "lamps": {**METER, "Cameras": unique}}
    configure(tmp_path, MessageBus=bus, Writable={"Pipelines": pipelines})
    running = run_app(tmp_path, f"-cp={edgex.provider}", key=f"app-wrong-{uuid.uuid4().hex[:6]}")
    with running as app, open_stage(edgex.broker.host, edgex.broker.port) as stage:
        stage.show(unique)
        until(lambda: stage.of(unique, "lamps"), "a result")
        states = app.status()["pipelineStates"]
        assert (states["lamps"]["state"], states["wrong"]["state"]) == ("running", "refused")
        assert "Threshold" in states["wrong"]["note"]


def open_models(folder: Path) -> Models:
    repository = Repository(folder)
    section = InferenceSection(models_dir=str(folder), threads=1, streams=1)
    return Models(section, repository, Starts(Journal(folder / ".state"), repository))


@pytest.fixture
def models(tmp_path: Path) -> Models:
    save_meter(tmp_path)
    models = open_models(tmp_path)
    models.load({"meter": PipelineSection(model="meter")})
    return models


def made(models: Models, before: Plan = Plan(), **sections: PipelineSection) -> Plan:  # noqa: B008 - it is frozen
    return plan_from(sections, models.served, before)


def state(plan: Plan, models: Models, key: str = "dock") -> dict[str, Any]:
    row: dict[str, Any] = pipeline_states(plan, models)[key]
    return row


def test_one_that_runs_as_configured_says_nothing_more(models: Models) -> None:
    plan = made(models, dock=PipelineSection(model="meter", cameras="gate"))
    assert state(plan, models) == {"state": "running", "isAtWork": True, "cameras": "gate", "model": "meter"}


def test_one_that_is_switched_off_is_disabled(models: Models) -> None:
    plan = made(models, dock=PipelineSection(model="meter", enabled=False))
    assert (state(plan, models)["state"], state(plan, models)["isAtWork"]) == ("disabled", False)


def test_a_new_one_is_seen_while_its_model_is_prepared_with_what_is_done_to_it(models: Models) -> None:
    plan = replace(made(models), coming={"dock": PipelineSection(model="big")})
    models.preparing["big"] = Preparation("big", "compiling it for CPU", 0.0)
    row = state(plan, models)
    assert (row["state"], row["isAtWork"], row["note"]) == (
        "preparing",
        False,
        "model 'big': compiling it for CPU",
    )
    (told,) = [it for it in models.status() if it["name"] == "big"]
    assert (told["state"], told["doing"]) == ("preparing", "compiling it for CPU")
    assert told["seconds"] > 0


def test_one_whose_model_is_ready_waits_for_the_others(models: Models) -> None:
    before = made(models, dock=PipelineSection(model="meter", threshold=0.2))
    plan = replace(before, coming={"dock": PipelineSection(model="meter", threshold=0.4)})
    row = state(plan, models)
    assert (row["state"], row["isAtWork"], row["note"]) == (
        "preparing",
        True,
        "waiting until all new models are ready",
    )


def test_one_whose_model_cannot_be_had_says_why_and_whether_the_old_one_serves_on(models: Models) -> None:
    wanted = {"dock": PipelineSection(model="nowhere"), "new": PipelineSection(model="nowhere")}
    before = made(models, dock=PipelineSection(model="meter"))
    models.load({**wanted_models(wanted), "meter": PipelineSection(model="meter")})
    plan = plan_from(wanted, models.served, before)
    dock, new = (state(plan, models, key) for key in ("dock", "new"))
    assert (dock["state"], dock["isAtWork"], new["isAtWork"]) == ("failed", True, False)
    assert dock["note"].startswith("model 'nowhere' cannot serve: ")


def test_one_whose_configuration_is_wrong_says_so_whether_it_is_new_or_not(models: Models) -> None:
    before = made(models, dock=PipelineSection(model="meter"))
    configured = {"dock": PipelineSection(model="meter", threshold=7), "new": PipelineSection(model="")}
    wanted, refused = AppWritable(pipelines=configured).accepted(before.wanted)
    plan = replace(plan_from(wanted, models.served, before), refused=refused)
    dock, new = (state(plan, models, key) for key in ("dock", "new"))
    assert (dock["state"], dock["isAtWork"]) == ("refused", True)
    assert dock["note"] == "Writable.Pipelines.dock.Threshold 7 is not within 0..1"
    assert (new["state"], new["isAtWork"]) == ("refused", False)
    assert "Model is empty" in new["note"]


def test_a_model_that_is_brought_back_meanwhile_leaves_alone_what_a_change_has_loaded(tmp_path: Path) -> None:
    for name in ("meter", "second"):
        save_meter(tmp_path, name)
    models = open_models(tmp_path)
    before = {"old": PipelineSection(model="meter")}  # could not be loaded at the start
    coming = {**before, "new": PipelineSection(model="second")}
    plan = replace(plan_from(before, models.served, Plan()), coming=coming)
    serving = LivePipelines(models, SimpleNamespace(plan=plan, end_stages=lambda _: None), LiveView())  # type: ignore[arg-type]
    models.load({"second": coming["new"]})  # the change has come so far
    serving.fill("meter", load_model(models.repository.find("meter")))
    assert serving.analyser.plan.models == {"meter"}
    assert models.served.keys() == {"meter", "second"}
    serving.take_over(plan_from(before, models.served, plan))
    assert models.served.keys() == {"meter"}
