"""What the live stream passes on; the routes themselves are under test with the page that reads them."""

import pytest
from app_inference.results import Answer, ImageFacts, ModelFacts, TimingFacts
from app_inference.routes import LIVE_HZ, Thinning


def _answer(frame_id: str, pipeline: str = "default", camera: str = "gate") -> Answer:
    return Answer(
        schema="vision.detections/1",
        pipeline=pipeline,
        camera=camera,
        frame_id=frame_id,
        seq=1,
        capture_origin="1",
        received_origin="2",
        result_origin="3",
        dropped_since_last=0,
        image=ImageFacts(64, 48, "image/jpeg"),
        model=ModelFacts("m", "1.0.0", "0123456789ab", "detection", "CPU", "FP32"),
        timing_ms=TimingFacts(1, 1, 1, 1, 4),
        objects=(),
    )


def _chosen(rate: float, seconds: float = 10) -> list[float]:
    """When a camera of `rate` frames a second gets a frame through."""
    thinning = Thinning()
    times = [index / rate for index in range(int(rate * seconds))]
    return [at for at in times if thinning.chooses(_answer(str(at)), at)]


@pytest.mark.parametrize("rate", [1, 5, 10, 11.9])
def test_a_camera_below_the_limit_loses_nothing(rate: float) -> None:
    assert len(_chosen(rate)) == int(rate * 10)


@pytest.mark.parametrize("rate", [12.5, 15, 18, 25, 30, 60])
def test_a_faster_camera_gets_the_limit_and_not_its_half(rate: float) -> None:
    assert len(_chosen(rate)) == pytest.approx(LIVE_HZ * 10, rel=0.05)


def test_all_results_of_one_frame_go_or_stay_together() -> None:
    thinning = Thinning()
    passed = [
        (frame, pipeline)
        for frame in range(30)
        for pipeline in ("people", "scene")
        if thinning.chooses(_answer(str(frame), pipeline), frame / 30)
    ]
    assert {frame for frame, pipeline in passed if pipeline == "people"} == {frame for frame, _ in passed}
    assert len(passed) == 2 * len({frame for frame, _ in passed})


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    thinning = Thinning()
    thinning.chooses(_answer("first"), 0.0)
    burst = [at for at in (60 + index / 1000 for index in range(50)) if thinning.chooses(_answer(str(at)), at)]
    assert len(burst) <= 2


def test_cameras_do_not_take_one_anothers_turn() -> None:
    thinning = Thinning()
    assert all(thinning.chooses(_answer("1", camera=f"camera {index}"), 0.0) for index in range(20))
