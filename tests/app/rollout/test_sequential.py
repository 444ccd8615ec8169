"""Bets on means: how often they are wrong, and how soon they see a fault."""

import numpy as np
import pytest
from app_inference.rollout.sequential import Bets, Bias, Share

PROOF = 100.0


@pytest.mark.parametrize("limit", [0.01, 0.1, 0.5])
def test_a_mean_at_the_limit_is_seldom_taken_for_one_above_it(limit: float) -> None:
    chance = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        bets = Bets(limit)
        for value in chance.random(200) < limit:
            bets.add(float(value))
        wrong += bets.gain >= PROOF
    assert wrong <= 8  # 1 % of 400 is the bound for any number of values; three standard deviations more


def test_a_fault_that_begins_late_is_seen_as_soon_as_one_from_the_start() -> None:
    frames = []
    for good in (0, 200):
        share = Share(0.1, block=5)
        for _ in range(good):
            share.add("gate", 0.0)
        bad = 0
        while share.gain < 500:
            share.add("gate", 0.6)
            bad += 1
        frames.append(bad)
    assert frames[1] <= frames[0] + 15


def test_a_share_well_below_the_limit_is_assured_and_one_near_it_is_not() -> None:
    chance = np.random.default_rng(2)
    low, near = Share(0.1, block=5), Share(0.1, block=5)
    for _ in range(300):
        low.add("gate", float(chance.random() < 0.04))
        near.add("gate", float(chance.random() < 0.2))
    assert low.assurance > 20 > near.assurance
    assert low.mean == pytest.approx(0.04, abs=0.03)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_is_seen_on_either_side_and_noise_is_not(sign: int) -> None:
    chance = np.random.default_rng(3)
    biased, noisy = Bias(0.05, block=5), Bias(0.05, block=5)
    for value in chance.normal(0, 0.05, 300):
        biased.add("gate", sign * 0.1 + value)
        noisy.add("gate", value)
    assert biased.gain > 500 > 10 > noisy.gain


def test_cameras_are_not_mixed_in_a_block() -> None:
    share = Share(0.5, block=2)
    for camera, part in (("a", 1.0), ("b", 0.0), ("a", 1.0), ("b", 0.0)):
        share.add(camera, part)
    both = Share(0.5, block=2)
    for camera, part in (("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)):
        both.add(camera, part)
    assert share.gain == both.gain > 1


def test_many_events_at_once_are_judged_as_one_after_the_other() -> None:
    one, many = Bets(0.01), Bets(0.01)
    for value in (1.0, 1.0, 1.0):
        one.add(value)
    many.add_events(3, 3)
    assert many.gain == pytest.approx(one.gain)
