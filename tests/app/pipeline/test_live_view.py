"""What is seen right now: newest results, pictures, rates, latency, and whether a camera is live."""

import asyncio
import time
from collections import deque

import msgspec
import pytest
from app_inference.pipeline import live_view as module
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.live_view import LiveView, Picture, Pictures, is_live, rate
from app_inference.pipeline.results import FrameResult, StageTimes
from hypothesis import given
from hypothesis import strategies as st

from tests.app.results import LAMP, a_result


def frame(number: int = 1, camera: str = "gate", age_s: float = 0.0) -> Frame:
    return Frame(camera, f"f-{number}", number, time.time_ns() - int(age_s * 1e9), b"jpeg", "image/jpeg")


def answer(of: Frame, pipeline: str = "lamps", label: str = "lamp", infer: float = 4.0) -> FrameResult:
    objects = (msgspec.structs.replace(LAMP, label=label),)
    return a_result(of.seq, of.camera, pipeline, objects=objects, timing_ms=StageTimes(1, 1, infer, 1, 3 + infer))


def look(view: LiveView, *frames: Frame, pipeline: str = "lamps") -> None:
    for one in frames:
        view.arrived(one, 0)
        view.answered(one, answer(one, pipeline))


def test_a_camera_shows_what_each_pipeline_saw_last() -> None:
    view = LiveView()
    look(view, frame(1), frame(2))
    look(view, frame(3), pipeline="doors")
    (row,) = view.status()
    assert [(it["pipeline"], it["frameId"], it["topLabel"], it["count"]) for it in row["seen"]] == [
        ("lamps", "f-2", "lamp", 1),
        ("doors", "f-3", "lamp", 1),
    ]
    assert row["results"] == 3


def test_two_pipelines_with_one_model_do_not_hide_each_other() -> None:
    view, one = LiveView(), frame()
    view.answered(one, answer(one, "strict", label="a"))
    view.answered(one, answer(one, "lax", label="b"))
    assert {it.pipeline for it in view.newest()} == {"strict", "lax"}


def test_what_a_pipeline_saw_goes_with_it() -> None:
    view = LiveView()
    look(view, frame(1), pipeline="lamps")
    look(view, frame(2), pipeline="doors")
    view.keep({"doors"})
    look(view, frame(3), pipeline="lamps")  # was under way
    assert [it["pipeline"] for it in view.status()[0]["seen"]] == ["doors"]


def test_a_picture_can_be_had_by_its_frame_or_as_the_newest() -> None:
    view = LiveView()
    look(view, frame(1))
    view.arrived(frame(2), 0)
    assert view.picture("gate", "f-1")
    assert view.picture("gate").frame_id == "f-2"  # type: ignore[union-attr]
    assert view.picture("gate", "f-2") is None
    assert view.picture("nobody") is None


def test_latency_is_from_capture_to_result() -> None:
    view = LiveView()
    look(view, *(frame(number, age_s=0.1) for number in range(99)), frame(99, age_s=2))
    latency = view.status()[0]["latencyMs"]
    assert 100 <= latency["p50"] < 600
    assert latency["p99"] >= 2000


def test_a_camera_that_is_forgotten_is_gone() -> None:
    view = LiveView()
    look(view, frame(1), frame(1, "yard"))
    view.forget({"gate"})
    assert [row["name"] for row in view.status()] == ["yard"]
    assert view.picture("gate") is None


def test_the_time_of_an_inference_is_known_by_model() -> None:
    view, one = LiveView(), frame()
    for infer in (1.0, 4.0, 90.0):
        view.answered(one, answer(one, infer=infer))
    assert view.inference_ms({"model": "meter", "version": "1.0.0"}) == 4.0
    assert view.inference_ms({"model": "meter", "version": "2.0.0"}) is None


async def test_a_listener_hears_every_result_and_a_slow_one_misses_the_oldest() -> None:
    view = LiveView()
    heard = view.listen()
    first = asyncio.create_task(anext(heard))
    await asyncio.sleep(0)
    look(view, frame(0))
    assert (await first).frame_id == "f-0"
    look(view, *(frame(number) for number in range(1, 101)))
    assert (await anext(heard)).frame_id == "f-37"
    await heard.aclose()  # type: ignore[attr-defined]
    assert view._listeners == []


def test_a_rate_is_that_of_the_last_seconds() -> None:
    stamps = deque(index / 10 for index in range(100))
    assert rate(stamps, 9.9) == pytest.approx(10, rel=0.05)
    assert rate(stamps, 12.4) == pytest.approx(5, rel=0.1)
    assert rate(stamps, 60) == 0
    assert rate(deque([1.0]), 1) == 0


@pytest.mark.parametrize(
    ("period", "silence", "live"),
    [(0.1, 1, True), (0.1, 6, False), (60, 100, True), (60, 200, False)],
)
def test_a_camera_is_live_while_it_keeps_its_own_pace(period: float, silence: float, live: bool) -> None:
    stamps = deque(number * period for number in range(10))
    assert is_live(stamps, stamps[-1] + silence) is live
    assert not is_live(deque(), 0)
    assert module.LIVE_S == 5


def picture(number: int, size: int = 10) -> Picture:
    return Picture(f"f-{number}", "image/jpeg", bytes(size))


def test_the_newest_frame_is_there_analysed_or_not() -> None:
    pictures = Pictures()
    pictures.put_analysed("gate", picture(1))
    pictures.put_newest("gate", picture(2))
    assert pictures.find("gate") == picture(2)
    assert pictures.find("gate", "f-1") == picture(1)
    assert pictures.find("gate", "f-2") is None
    assert pictures.find("yard") is None


def test_the_last_few_analysed_frames_are_kept() -> None:
    pictures = Pictures()
    for number in range(module.KEPT + 3):
        pictures.put_analysed("gate", picture(number))
        pictures.put_analysed("gate", picture(number))  # the answer of a second pipeline
    kept = [number for number in range(module.KEPT + 3) if pictures.find("gate", f"f-{number}")]
    assert kept == list(range(3, module.KEPT + 3))


def test_when_there_are_too_many_the_longest_silent_camera_loses_its_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 50)
    pictures = Pictures()
    pictures.put_analysed("gate", picture(1))
    pictures.put_analysed("gate", picture(2))
    for number in range(4):
        pictures.put_analysed("yard", picture(number))
    assert pictures.find("gate", "f-1") is None
    assert pictures.find("gate", "f-2")
    assert all(pictures.find("yard", f"f-{number}") for number in range(4))


STEPS = st.lists(st.tuples(st.sampled_from("nafx"), st.sampled_from("abc"), st.integers(0, 40)), max_size=80)


@given(STEPS)
def test_the_bytes_are_counted_rightly_and_stay_within_the_bound(steps: list[tuple[str, str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_KEPT", 100)
        pictures = Pictures()
        for number, (step, camera, size) in enumerate(steps):
            if step == "f":
                pictures.forget(camera)
            elif step == "n":
                pictures.put_newest(camera, picture(number, size))
            else:
                pictures.put_analysed(camera, picture(number, size))
            cameras = pictures._cameras.values()
            held = sum(len(it.data) for kept in cameras for it in (*kept.analysed, kept.newest) if it)
            assert held == pictures._bytes <= 100
