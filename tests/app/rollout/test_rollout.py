"""Rollouts with real models while frames flow: forward, back, refused, and interrupted."""

import asyncio
import random
import time
from pathlib import Path

import pytest
from app_inference.pipeline.serving import ActiveSet
from app_inference.rollout.desired import CanaryOptions, ObserveOptions
from app_inference.rollout.journal import Journal
from app_inference.rollout.steps import Step

from tests.app.updating import LABELS, MODEL, QUICK, open_site, write_version

GOOD, LIKE_IT = [(0, 0.9)], [(0, 0.88)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_version(tmp_path, "1.0.0", GOOD)
    return tmp_path


@pytest.mark.goal(10)
async def test_a_better_version_is_committed_and_no_frame_is_lost_or_answered_twice(root: Path) -> None:
    write_version(root, "1.1.0", LIKE_IT)
    async with open_site(root) as site:
        site.request("1.1.0")
        await site.settled()
        record, street = site.rollout.record, site.street
    assert (record.active, record.previous, record.reason, record.refused) == ("1.1.0", "1.0.0", "", "")
    assert not street.lost
    seen = [(camera, seq) for camera, seq, _ in street.findings]
    assert len(seen) == len(set(seen))
    versions = street.versions("a")
    assert versions == sorted(versions)  # never back to the old one
    assert set(versions) == {"1.0.0", "1.1.0"}


@pytest.mark.goal(19, 20)
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "finds 0.00 objects"),
        ([(0, 0.9)] * 12, "finds"),
        ([(0, 0.52)], "mean score moved"),
        ([(2, 0.9)], "finds other classes"),
    ],
)
async def test_a_version_that_sees_other_things_goes_back_by_itself(
    root: Path, rows: list[tuple[int, float]], words: str
) -> None:
    spread = [(class_id, score) for class_id, score in rows]
    write_version(root, "2.0.0", spread)
    async with open_site(root) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0")
        await site.settled()
        await site.until(lambda: site.street.versions()[-1] == "1.0.0")
        record, street = site.rollout.record, site.street
    assert words in record.reason
    assert record.refused == "2.0.0"
    assert record.quarantine[0].version == "2.0.0"
    assert not street.lost


@pytest.mark.goal(16)
async def test_answers_that_are_no_numbers_go_back_at_once_and_cost_no_frame(root: Path) -> None:
    write_version(root, "2.0.0", GOOD, late=GOOD, after=30)
    write_version(root, "3.0.0", nan=True)
    async with open_site(root) as site:
        site.request("3.0.0")
        await site.settled()
        assert "NaN" in site.rollout.record.reason
        assert "3.0.0" not in site.street.versions()  # the self-test has found it
        assert not site.street.lost


@pytest.mark.goal(19, 20)
async def test_nonsense_that_begins_after_two_hundred_frames_goes_back_within_a_second(root: Path) -> None:
    write_version(root, "2.0.0", GOOD, late=[(1, 0.9)] * 9, after=200)
    async with open_site(root) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0", observe=ObserveOptions(min_frames=1000, hold_seconds=60))
        await site.until(lambda: any(len(it[2].objects) > 5 for it in site.street.findings[-20:]), 20)
        began = time.monotonic()
        await site.until(lambda: site.street.versions()[-1] == "1.0.0")
        took = time.monotonic() - began
        await site.until(lambda: site.rollout.record.step is Step.IDLE)
        assert took < 1.0
        assert not site.street.lost
        assert site.rollout.record.is_quarantined(site.rollout.record.quarantine[0].digest)


@pytest.mark.goal(19, 21)
async def test_a_quiet_scene_holds_until_an_operator_promotes(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0", [])
    write_version(tmp_path, "1.1.0", [])
    async with open_site(tmp_path) as site:
        site.request("1.1.0")
        await site.until(lambda: site.rollout.record.step is Step.OBSERVE)
        await site.until(lambda: "0 of 40 frames" in site.rollout.judgement.reason)
        site.rollout.promote()
        await site.until(lambda: site.rollout.record.active == "1.1.0")


@pytest.mark.goal(7)
async def test_a_version_that_breaks_the_contract_is_held_back_with_the_difference(root: Path) -> None:
    write_version(root, "2.0.0", GOOD, labels=[LABELS[1], LABELS[0], LABELS[2]])
    async with open_site(root) as site:
        site.request("2.0.0")
        await site.settled()
        assert "label 0 is 'car', 'person' is expected" in site.rollout.record.reason
        site.request("2.0.0", 2, allow_label_change=True, retry=True)
        await site.settled()
        assert site.rollout.record.active == "2.0.0"


@pytest.mark.goal(15)
async def test_a_damaged_version_is_tried_once_and_then_quarantined(root: Path) -> None:
    folder = write_version(root, "2.0.0", GOOD)
    (folder / "model.bin").write_bytes(b"")
    (folder / "model.xml").write_text("<net>")
    async with open_site(root) as site:
        site.request("2.0.0")
        await site.settled()
        assert "OpenVINO cannot read it" in site.rollout.record.reason
        site.request("2.0.0", 2)
        await site.settled()
        assert "is quarantined" in site.rollout.record.reason
        assert set(site.street.versions()) == {"1.0.0"}
        assert not site.street.lost


async def test_an_unknown_version_is_refused_and_named(root: Path) -> None:
    async with open_site(root) as site:
        site.request("9.9.9")
        await site.settled()
        assert "no version '9.9.9'" in site.rollout.record.reason
        assert site.rollout.record.refused == "9.9.9"
        assert not site.rollout.record.quarantine


async def test_a_locked_model_is_not_updated(root: Path) -> None:
    write_version(root, "1.1.0", LIKE_IT)
    async with open_site(root) as site:
        site.rollout.lock(True)
        site.request("1.1.0")
        await site.settled()
        assert "LOCKED" in site.rollout.record.reason
        assert site.slot.model.version == "1.0.0"


@pytest.mark.goal(18)
async def test_a_canary_serves_always_the_same_cameras_and_then_all(root: Path) -> None:
    write_version(root, "1.1.0", LIKE_IT)
    async with open_site(root) as site:
        site.request("1.1.0", strategy="canary", canary=CanaryOptions(cameras=("b",)))
        await site.until(lambda: site.rollout.record.step is Step.CANARY)
        await site.until(lambda: "1.1.0" in site.street.versions("b"))
        await site.until(lambda: site.rollout.record.step is Step.OBSERVE)
        others = [v for c in "acd" for v in site.street.versions(c)]
        await site.until(lambda: site.rollout.record.active == "1.1.0")
    first = site.street.versions("b").index("1.1.0")
    assert set(site.street.versions("b")[first:]) == {"1.1.0"}
    assert others.count("1.1.0") < 40  # only what came between the switch and this look
    assert not site.street.lost


@pytest.mark.goal(17)
async def test_a_shadow_is_compared_and_never_published_before_it_passes(root: Path) -> None:
    write_version(root, "2.0.0", [(2, 0.9)])
    async with open_site(root) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0", strategy="shadow")
        await site.settled()
        assert "other classes" in site.rollout.record.reason
        assert set(site.street.versions()) == {"1.0.0"}


@pytest.mark.goal(14)
async def test_the_newest_of_fifty_wishes_wins(root: Path) -> None:
    versions = ["1.0.0", "1.1.0", "1.2.0"]
    for version in versions[1:]:
        write_version(root, version, LIKE_IT)
    chance = random.Random(4)
    async with open_site(root) as site:
        for generation in range(1, 50):
            site.request(chance.choice(versions), generation)
            await site.until(lambda: True)
            await asyncio.sleep(chance.uniform(0, 0.05))
        site.request("1.2.0", 50)
        await site.until(lambda: site.rollout.record.active == "1.2.0" and site.rollout.record.step is Step.IDLE, 25)
        assert site.slot.model.version == "1.2.0"
        assert site.slot.active == ActiveSet(site.slot.model)
        assert not site.street.lost


@pytest.mark.goal(14)
@pytest.mark.parametrize("turns", range(1, 8))
async def test_going_back_to_what_was_wished_a_moment_ago_is_a_wish_too(root: Path, turns: int) -> None:
    for version in ("1.1.0", "1.2.0"):
        write_version(root, version, LIKE_IT)
    async with open_site(root) as site:
        site.request("1.2.0", 1, promoted=True)
        await site.until(lambda: site.rollout.record.step is Step.LOAD)
        site.request("1.1.0", 2, promoted=True)
        for _ in range(turns):  # the first attempt is taken back meanwhile, at another place each time
            await asyncio.sleep(0)
        site.request("1.2.0", 3, promoted=True)
        await site.until(lambda: site.rollout.record.active == "1.2.0" and site.rollout.record.step is Step.IDLE, 5)


@pytest.mark.goal(11)
async def test_a_threshold_takes_effect_without_a_swap(root: Path) -> None:
    async with open_site(root) as site:
        await site.until(lambda: bool(site.street.findings))
        site.request("1.0.0", threshold=0.95)
        await site.until(lambda: not site.street.findings[-1][2].objects, 1.0)
        site.request("1.0.0", 2, threshold=0.5)
        await site.until(lambda: bool(site.street.findings[-1][2].objects), 1.0)
        assert site.rollout.record.step is Step.IDLE
        assert not site.street.lost


async def test_a_wish_to_hold_stays_after_a_breach_until_somebody_decides(root: Path) -> None:
    write_version(root, "2.0.0", [])
    async with open_site(root) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0", on_fail="hold")
        await site.until(lambda: site.rollout.judgement.verdict == "breach")
        assert site.rollout.record.step is Step.OBSERVE
        site.request("1.0.0", 2)
        await site.until(lambda: site.street.versions()[-1] == "1.0.0")
        await site.until(lambda: site.rollout.record.step is Step.IDLE)
        assert not site.rollout.record.quarantine


async def test_what_was_committed_is_what_the_journal_boots(root: Path) -> None:
    write_version(root, "1.1.0", LIKE_IT)
    async with open_site(root) as site:
        site.request("1.1.0", observe=QUICK)
        await site.settled()
    assert Journal(root / ".state").read(MODEL).active == "1.1.0"


async def test_a_disk_that_fails_during_an_update_blames_no_version_and_serves_on(root: Path) -> None:
    write_version(root, "1.1.0", LIKE_IT)
    journal = Journal(root / ".state")
    async with open_site(root, journal=journal) as site:
        await site.until(lambda: bool(site.street.findings))
        site.request("1.1.0", observe=ObserveOptions(min_frames=10_000, hold_seconds=60))
        await site.until(lambda: site.rollout.record.step is Step.OBSERVE)
        (root / ".state").rename(root / ".gone")
        (root / ".state").write_text("no folder any more")
        site.rollout.promote()
        await site.until(lambda: site.street.versions()[-1] == "1.0.0")
        (root / ".state").unlink()
        (root / ".gone").rename(root / ".state")
        site.request("1.0.0", 2)
        await site.until(lambda: site.rollout.record.step is Step.IDLE)
        assert not site.rollout.record.quarantine
        assert not site.street.lost
