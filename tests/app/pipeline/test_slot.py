"""A model is replaced between two frames; every thread has a session of its own."""

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from app_inference.inference.model import Model, load_model
from app_inference.models.repository import stored_model
from app_inference.pipeline.samples import Sample
from app_inference.pipeline.slot import ActiveSet, ServedModel
from app_inference.vision.image import image_from_pixels

from tests.conformance.eyes import save_meter

WHITE = image_from_pixels(np.full((32, 32, 3), 255, np.uint8))


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    folders = [save_meter(tmp_path, version=version) for version in ("1.0.0", "2.0.0")]
    return [load_model(stored_model(folder)) for folder in folders]


def test_a_thread_keeps_its_session_and_shares_it_with_nobody(models: list[Model]) -> None:
    slot, sessions = ServedModel("meter", models[0]), []
    own = slot.session(models[0])
    assert slot.session(models[0]) is own
    thread = threading.Thread(target=lambda: sessions.append(slot.session(models[0])))
    thread.start()
    thread.join()
    assert sessions[0] is not own


def test_the_next_frame_is_looked_at_by_the_new_model(models: list[Model]) -> None:
    slot = ServedModel("meter", models[0])
    assert slot.replace(ActiveSet(models[1])).serving is models[0]
    assert slot.turn("gate").first is slot.model is models[1]


def test_a_frame_under_way_is_finished_by_the_model_that_began_it(models: list[Model]) -> None:
    slot = ServedModel("meter", models[0])
    turn = slot.turn("gate")
    slot.replace(ActiveSet(models[1]))
    result, _ = slot.session(turn.first).analyse(WHITE)
    assert len(result) == 1  # type: ignore[arg-type]


def test_a_model_nobody_holds_any_more_is_gone(models: list[Model]) -> None:
    slot = ServedModel("meter", models.pop(0))
    slot.session(slot.model)
    old = weakref.ref(slot.model)
    slot.replace(ActiveSet(models[0]))
    slot.session(models[0])
    gc.collect()
    assert old() is None


def test_what_was_noted_of_a_camera_goes_with_it(models: list[Model]) -> None:
    slot = ServedModel("meter", models[0])
    for camera in ("gate", "yard"):
        slot.observe(models[0], camera, Sample(1.0))
    slot.forget({"gate"})
    assert slot.cameras(models[0]) == {"yard"}
