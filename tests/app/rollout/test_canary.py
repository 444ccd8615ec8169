"""Which cameras a candidate serves first."""

import pytest
from app_inference.rollout.canary import canary_for
from app_inference.rollout.desired import CanaryOptions

MANY = [f"camera-{number}" for number in range(1000)]


@pytest.mark.goal(18)
@pytest.mark.parametrize("percent", [5, 25, 50, 100])
def test_the_share_of_known_cameras_is_the_one_that_is_requested(percent: int) -> None:
    is_canary = canary_for("det", CanaryOptions(percent=percent), MANY)
    assert abs(sum(map(is_canary, MANY)) - 10 * percent) <= 20


@pytest.mark.goal(18)
def test_of_a_thousand_frames_of_a_few_cameras_the_share_holds_too() -> None:
    cameras = ["gate", "yard", "dock", "street"]
    is_canary = canary_for("det", CanaryOptions(percent=25), cameras)
    frames = [cameras[number % 4] for number in range(1000)]
    assert abs(sum(map(is_canary, frames)) - 250) <= 20


@pytest.mark.goal(18)
def test_a_camera_stays_where_it_is_whatever_comes_and_goes() -> None:
    request = CanaryOptions(percent=25)
    one, other = canary_for("det", request, MANY), canary_for("det", request, list(reversed(MANY)))
    assert [one(camera) for camera in MANY] == [other(camera) for camera in MANY]
    later = [one(f"new-{number}") for number in range(1000)]
    assert abs(sum(later) - 250) <= 50


def test_no_share_is_so_small_that_no_camera_is_in_it() -> None:
    assert sum(map(canary_for("det", CanaryOptions(percent=1), ["gate", "yard"]), ["gate", "yard"])) == 1


def test_without_known_cameras_the_name_decides() -> None:
    is_canary = canary_for("det", CanaryOptions(percent=25))
    assert abs(sum(map(is_canary, MANY)) - 250) <= 40


def test_named_cameras_are_the_ones() -> None:
    is_canary = canary_for("det", CanaryOptions(cameras=("gate",)), MANY)
    assert is_canary("gate")
    assert not any(map(is_canary, MANY))


def test_two_models_do_not_try_on_the_same_cameras() -> None:
    sets = [{camera for camera in MANY if canary_for(model, CanaryOptions(percent=10), MANY)(camera)} for model in "ab"]
    assert sets[0] != sets[1]
