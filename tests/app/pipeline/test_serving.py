"""The models that pipelines name are loaded, each once; one that cannot be had is told with its reason."""

import gc
import logging
import shutil
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_inference.inference.model import Model, load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository, stored_model
from app_inference.pipeline import serving as module
from app_inference.pipeline.samples import Sample
from app_inference.pipeline.serving import ActiveSet, Models, ServedModel, runtime_from
from app_inference.rollout.journal import Journal, Starts
from app_inference.settings import InferenceSection, PipelineSection, cores
from app_inference.vision.image import image_from_pixels

from tests.conformance.app_process import save_meter

WHITE = image_from_pixels(np.full((32, 32, 3), 255, np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_meter(tmp_path)
    save_meter(tmp_path, "other")
    return tmp_path


def wanted(*models: str) -> dict[str, PipelineSection]:
    return {name: PipelineSection(model=name) for name in models}


def open_models(folder: Path) -> Models:
    section, repository = (
        InferenceSection(models_dir=str(folder), threads=1, streams=1, precision="f32"),
        Repository(folder),
    )
    return Models(section, repository, Starts(Journal(folder / ".state"), repository))


def test_a_model_in_use_is_shown_with_what_runs_it(folder: Path) -> None:
    models = open_models(folder)
    models.load(wanted("meter"))
    (row,) = models.status()
    assert (
        row.items()
        >= {
            "name": "meter",
            "state": "serving",
            "model": "meter",
            "version": "1.0.0",
            "task": "detection",
            "inputSize": [32, 32],
            "precision": "FP32",
            "devices": ["CPU"],
            "labels": 1,
        }.items()
    )
    assert len(row["digest"]) == 12


def test_one_that_is_missing_is_a_failed_row_and_the_others_serve(folder: Path) -> None:
    models = open_models(folder)
    models.load(wanted("meter", "missing"))
    rows = {row["name"]: row for row in models.status()}
    assert rows["meter"]["state"] == "serving"
    assert rows["missing"]["state"] == "failed"
    assert "no model 'missing'" in rows["missing"]["reason"]
    assert set(models.served) == {"meter"}


def test_one_that_is_broken_is_a_failed_row_with_the_cause(folder: Path) -> None:
    (folder / "other/1.0.0/model.xml").write_text("<net/>")
    models = open_models(folder)
    models.load(wanted("other"))
    (row,) = models.status()
    assert row["state"] == "failed"
    assert "model.xml" in row["reason"]


def test_one_that_breaks_us_is_a_failed_row_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError("a decoder divides by zero")

    monkeypatch.setattr(module.Model, "warm_up", explode)
    models = open_models(folder)
    models.load(wanted("meter"))
    assert models.status()[0]["reason"] == "ZeroDivisionError: a decoder divides by zero"
    assert "Traceback" in caplog.text


def test_models_on_their_way_say_what_is_done_to_them_and_which_they_wait_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, at_it, go = open_models(folder), threading.Event(), threading.Event()
    warm_up = module.Model.warm_up

    def slowly(model: module.Model) -> Any:
        at_it.set()
        assert go.wait(10)
        return warm_up(model)

    models.load(wanted("missing"))
    monkeypatch.setattr(module.Model, "warm_up", slowly)
    loading = threading.Thread(target=models.load, args=(wanted("meter", "missing", "other"),))
    loading.start()
    assert at_it.wait(10)
    rows = {row["name"]: row for row in models.status()}
    go.set()
    loading.join()
    assert {row["state"] for row in rows.values()} == {"preparing"}
    assert rows["meter"]["doing"] == "analysing a first picture"
    assert rows["other"]["doing"] == rows["missing"]["doing"] == "waiting until model 'meter' is ready"
    assert {row["name"]: row["state"] for row in models.status()} == {
        "meter": "serving",
        "missing": "failed",
        "other": "serving",
    }


def test_a_failed_model_is_tried_again_and_a_serving_one_is_not_loaded_twice(folder: Path) -> None:
    models = open_models(folder)
    models.load(wanted("meter", "late"))
    serving = models.served["meter"].model
    save_meter(folder, "late")
    models.load(wanted("meter", "late"))
    assert {row["state"] for row in models.status()} == {"serving"}
    assert models.served["meter"].model is serving


def test_the_failure_of_a_model_nobody_wants_any_more_is_forgotten(folder: Path) -> None:
    models = open_models(folder)
    models.load(wanted("missing"))
    models.load(wanted("meter"))
    assert [row["name"] for row in models.status()] == ["meter"]


def test_a_model_that_is_let_go_ends_the_frame_it_analyses(folder: Path) -> None:
    models = open_models(folder)
    models.load(wanted("meter", "other"))
    slot = models.served["other"]
    models.release({"meter"})
    assert set(models.served) == {"meter"}
    white = image_from_pixels(np.full((32, 32, 3), 255, np.uint8))
    assert len(slot.session(slot.model).analyse(white)[0]) == 1  # type: ignore[arg-type]


def test_one_model_with_two_types_is_two(folder: Path) -> None:
    models = open_models(folder)
    sections = [PipelineSection(model="meter"), PipelineSection(model="meter", model_type="ssd")]
    models.load({it.model_key: it for it in sections})
    assert set(models.served) == {"meter", "meter as ssd"}


@pytest.fixture
def twins(folder: Path) -> Models:
    """One file under two names."""
    shutil.copytree(folder / "meter", folder / "twin")
    manifest = folder / "twin/1.0.0/manifest.yaml"
    manifest.write_text(manifest.read_text().replace("name: meter", "name: twin").replace("lamp", "torch"))
    models = open_models(folder)
    models.load(wanted("meter", "twin", "meter@1.0.0"))
    return models


def found(models: Models, name: str) -> int:
    slot, white = models.served[name], image_from_pixels(np.full((32, 32, 3), 255, np.uint8))
    return len(slot.session(slot.model).analyse(white)[0])  # type: ignore[arg-type]


def test_one_file_under_several_names_is_compiled_once_and_each_name_keeps_its_own_labels(twins: Models) -> None:
    compiled = {name: slot.model._compiled for name, slot in twins.served.items()}
    assert len(set(map(id, compiled.values()))) == 1
    assert twins.served["meter"].model.labels == ("lamp",)
    assert twins.served["twin"].model.labels == ("torch",)
    assert [row["name"] for row in twins.status()] == ["meter", "meter@1.0.0", "twin"]


def test_one_name_that_is_updated_closed_or_let_go_leaves_the_other_as_it_was(twins: Models, folder: Path) -> None:
    before, other = twins.served["meter"].model, twins.served["twin"].model
    save_meter(folder, "meter", "2.0.0", label="fire")
    newer = load_model(twins.repository.version("meter", "2.0.0"), runtime=twins.runtime)
    twins.served["meter"].replace(ActiveSet(newer))
    before.close()
    assert (found(twins, "meter"), found(twins, "twin")) == (1, 1)
    assert twins.served["twin"].model is other
    twins.release({"twin"})
    assert found(twins, "twin") == 1


def test_what_no_name_holds_any_more_is_given_up(twins: Models) -> None:
    held = weakref.ref(twins.served["twin"].model._compiled)
    assert held() is not None
    twins.release(())
    gc.collect()
    assert held() is None


def test_other_colours_or_another_way_to_run_are_another_model(folder: Path) -> None:
    stored = open_models(folder).repository.find("meter")
    plain, swapped = load_model(stored), load_model(stored, {"color": "RGB"})
    threaded = load_model(stored, runtime=Runtime(threads=2))
    assert len({id(it._compiled) for it in (plain, swapped, threaded)}) == 3


def test_what_is_done_to_a_model_is_told(folder: Path) -> None:
    told: list[str] = []
    load_model(open_models(folder).repository.find("other"), tell=told.append)
    assert told == ["checking its files", "reading it", "compiling it for CPU"]


def test_a_model_says_once_that_it_serves(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    open_models(folder).load(wanted("meter"))
    assert "model meter serves: meter 1.0.0" in caplog.text


@pytest.mark.parametrize(
    ("section", "streams", "threads", "workers"),
    [
        (InferenceSection(), cores(), cores(), cores() + 1 if cores() > 1 else 1),
        (InferenceSection(streams=3), 3, 3, 4),
        (InferenceSection(streams=1, threads=4), 1, 4, 2),
        (InferenceSection(streams=2, workers=7), 2, 2, 7),
    ],
)
def test_what_is_left_to_the_service_follows_from_the_cores(
    section: InferenceSection, streams: int, threads: int, workers: int
) -> None:
    runtime = runtime_from(section)
    assert (section.stream_count, runtime.streams, runtime.threads) == (streams, streams, threads)
    if cores() > 1:
        assert section.worker_count == workers


@pytest.fixture
def versions(tmp_path: Path) -> list[Model]:
    folders = [save_meter(tmp_path, version=version) for version in ("1.0.0", "2.0.0")]
    return [load_model(stored_model(folder)) for folder in folders]


def test_a_thread_keeps_its_session_and_shares_it_with_nobody(versions: list[Model]) -> None:
    served, sessions = ServedModel("meter", versions[0]), []
    own = served.session(versions[0])
    assert served.session(versions[0]) is own
    thread = threading.Thread(target=lambda: sessions.append(served.session(versions[0])))
    thread.start()
    thread.join()
    assert sessions[0] is not own


def test_the_next_frame_is_analysed_by_the_new_model(versions: list[Model]) -> None:
    served = ServedModel("meter", versions[0])
    assert served.replace(ActiveSet(versions[1])).serving is versions[0]
    assert served.assign("gate").first is served.model is versions[1]


def test_a_frame_under_way_is_finished_by_the_model_that_began_it(versions: list[Model]) -> None:
    served = ServedModel("meter", versions[0])
    assignment = served.assign("gate")
    served.replace(ActiveSet(versions[1]))
    result, _ = served.session(assignment.first).analyse(WHITE)
    assert len(result) == 1  # type: ignore[arg-type]


def test_a_model_nobody_holds_any_more_is_gone(versions: list[Model]) -> None:
    served = ServedModel("meter", versions.pop(0))
    served.session(served.model)
    old = weakref.ref(served.model)
    served.replace(ActiveSet(versions[0]))
    served.session(versions[0])
    gc.collect()
    assert old() is None


def test_what_was_noted_of_a_camera_goes_with_it(versions: list[Model]) -> None:
    served = ServedModel("meter", versions[0])
    for camera in ("gate", "yard"):
        served.observe(versions[0], camera, Sample(1.0))
    served.forget({"gate"})
    assert served.cameras(versions[0]) == {"yard"}
