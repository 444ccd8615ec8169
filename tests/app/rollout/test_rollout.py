"""Rollouts with real models while frames flow: forward, back, refused, and interrupted."""

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from app_inference.inference.model import Model
from app_inference.inference.session import Session
from app_inference.models.repository import Repository
from app_inference.models.staging import remove
from app_inference.pipeline.serving import ActiveSet, ServedModel
from app_inference.rollout.desired import CanaryOptions, ModelRequest, ObserveOptions
from app_inference.rollout.engine import Engine
from app_inference.rollout.journal import Journal, Record
from app_inference.rollout.metrics import UpdateMeters
from app_inference.rollout.preparation import Preparer
from app_inference.rollout.rollout import Deployment
from app_inference.rollout.state_store import FolderStateStore
from app_inference.rollout.steps import Step
from app_inference.vision.image import image_from_pixels
from edgex_kit.service.metrics import Counter, Metrics
from edgex_kit.supervision import forever

from tests.app.updating import LABELS, MODEL, QUICK, RUNTIME, Site, Street, open_site, write_version

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
        ([], "minAgreement"),
        ([(0, 0.9)] * 12, "minAgreement"),
        ([(0, 0.52)], "maxScoreShift"),
        ([(2, 0.9)], "minAgreement"),
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
        assert "minAgreement" in site.rollout.record.reason
        assert set(site.street.versions()) == {"1.0.0"}


@pytest.mark.goal(14)
async def test_the_newest_of_fifty_requests_wins(root: Path) -> None:
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
async def test_going_back_to_what_was_requested_a_moment_ago_is_a_request_too(root: Path, turns: int) -> None:
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


async def test_a_request_to_hold_stays_after_a_breach_until_somebody_decides(root: Path) -> None:
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


PICTURE = image_from_pixels(np.zeros((32, 32, 3), np.uint8))


class Stuck:
    """A thread in an inference of the serving version that ends when it is told to."""

    def __init__(self, slot: ServedModel) -> None:
        self._let_go = threading.Event()
        self._is_in = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(slot,))

    def __enter__(self) -> "Stuck":
        self._thread.start()
        assert self._is_in.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._let_go.set()
        self._thread.join()

    def _look(self, slot: ServedModel) -> None:
        session = slot.session(slot.model)
        session._request = self  # type: ignore[assignment]
        session.analyse(PICTURE)

    def infer(self, _pixels: Any) -> Any:
        self._is_in.set()
        self._let_go.wait(30)
        return [np.zeros((1, 1, 1, 7), np.float32)]


@pytest.mark.goal(13)
async def test_a_frame_that_never_ends_is_reported_and_holds_up_no_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app_inference.rollout.rollout.DRAIN_LIMIT", 0.5)
    logging.getLogger().addHandler(caplog.handler)
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version)
    async with open_site(tmp_path) as site:
        with Stuck(site.slot):
            began = time.monotonic()
            site.request("2.0.0", promoted=True)
            await site.until(lambda: site.street.versions()[-1:] == ["2.0.0"])
            await site.settled()
            assert time.monotonic() - began > 0.5
        rollout = site.rollout
        assert (rollout.record.active, rollout.undrained, rollout.counts.drain_timeouts) == ("2.0.0", 1, 1)
        assert not site.street.lost
        metrics = Metrics("app")
        UpdateMeters(metrics, {MODEL: rollout}, {MODEL: site.slot}, lambda _: None).look(rollout)
        counted = [it.value for it in metrics if isinstance(it, Counter) and it.name == "ModelDrainTimeouts"]
        assert counted == [1]


@pytest.mark.goal(13)
async def test_an_update_ends_after_the_last_frame_of_the_version_before(tmp_path: Path) -> None:
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version)
    async with open_site(tmp_path) as site:
        with Stuck(site.slot) as stuck:
            site.request("2.0.0", promoted=True)
            await site.until(lambda: site.street.versions()[-1:] == ["2.0.0"])
            assert site.rollout.record.step is Step.OBSERVE
            stuck.end()
            await site.settled()
        assert site.rollout.undrained == 0
        assert site.rollout.record.active == "2.0.0"


def test_a_session_is_busy_only_while_it_looks(tmp_path: Path) -> None:
    from app_inference.inference.model import load_model
    from app_inference.models.repository import stored_model

    slot = ServedModel(MODEL, load_model(stored_model(write_version(tmp_path, "1.0.0"))))
    session: Session = slot.session(slot.model)
    session.analyse(PICTURE)
    assert session.busy_since is None
    with Stuck(slot):
        assert slot.busy(slot.model, time.perf_counter()) == 1
        assert slot.busy(slot.model, 0.0) == 0
    assert slot.busy(slot.model, time.perf_counter()) == 0


FPS = 30.0
CAMERAS = ("a", "b", "c", "d")


@contextlib.contextmanager
def four_cameras(site: Site) -> Iterator[list[Street]]:
    """Each camera on a thread of its own, as workers look at them."""
    streets = [Street(site.slot, (camera,)) for camera in CAMERAS]
    with contextlib.ExitStack() as stack:
        for street in streets:
            stack.enter_context(street.busy(1 / FPS))
        yield streets


async def swap(site: Site, version: str, generation: int) -> None:
    site.request(version, generation, promoted=True)
    await site.until(lambda: site.rollout.record.active == version and site.rollout.record.step == "IDLE")


@pytest.mark.goal(10, 14)
@pytest.mark.timeout(90)
async def test_twenty_swaps_under_four_cameras_lose_double_and_reorder_no_frame(tmp_path: Path) -> None:
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version, [(0, 0.9 if version == "1.0.0" else 0.88)])
    gc.collect()
    known = models_alive()
    async with open_site(tmp_path) as site:
        with four_cameras(site) as streets:
            for number in range(20):
                await swap(site, ("2.0.0", "1.0.0")[number % 2], number + 1)
        assert site.rollout.counts.swaps == 20
        assert models_alive() <= known + 3  # the one that serves, and what threads and the last rollout still hold
    for street in streets:
        assert not street.lost
        seen = [seq for _, seq, _ in street.findings]
        assert seen == list(range(1, len(seen) + 1))  # as many as came, in their order, each once
        assert len({finding.model.version for _, _, finding in street.findings}) == 2
    assert sum(len(street.findings) for street in streets) > 20 * len(CAMERAS)


@pytest.mark.goal(44)
@pytest.mark.timeout(240)
async def test_two_hundred_swaps_leave_memory_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version, [(0, 0.9 if version == "1.0.0" else 0.88)])
    monkeypatch.setattr("app_inference.rollout.journal.os.fsync", lambda _: None)  # the disk is not what is measured
    monkeypatch.setattr("app_inference.rollout.timing.TIMED", 2)
    resident = []
    async with open_site(tmp_path, pause=0.05) as site:
        for number in range(200):
            await swap(site, ("2.0.0", "1.0.0")[number % 2], number + 1)
            site.street.findings.clear()
            if number >= 20 and number % 5 == 0:
                resident.append(resident_mb())
    pairs = combinations(enumerate(resident), 2)
    slope = np.median([(later - early) / (b - a) for (a, early), (b, later) in pairs]) * 100 / 5  # few outliers count
    assert slope < 1.0, f"{slope:.2f} MB in a hundred swaps: {resident[::6]}"


def models_alive() -> int:
    return sum(isinstance(it, Model) for it in gc.get_objects())


def resident_mb() -> float:
    """What is held, without what the C library keeps for the next allocation."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


class Noted(Journal):
    """A journal that remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: list[Record] = []

    def write(self, name: str, record: Record) -> Record:
        self.written.append(record)
        return super().write(name, record)


class Held:
    """A disk that removes nothing until it is let."""

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()

    def __call__(self, folder: Path) -> None:
        self.begun.set()
        assert self.let.wait(20)
        remove(folder)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr("app_inference.models.retention.remove", held)
    yield held
    held.let.set()


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    for version in ("0.1.0", "0.2.0", "0.3.0", "1.0.0", "2.0.0", "3.0.0"):
        write_version(tmp_path, version)
    return tmp_path


async def committed(site: Site, disk: Held) -> None:
    """2.0.0 serves, and the first of two old versions, 0.2.0, is just being removed."""
    site.request("2.0.0", promoted=True)
    await site.settled()
    await site.until(disk.begun.is_set)


async def test_a_request_that_comes_while_old_versions_go_does_not_call_the_committed_one_refused(
    stock: Path, disk: Held
) -> None:
    journal = Noted(stock / ".state")
    async with open_site(stock, keep=1, journal=journal) as site:
        await committed(site, disk)
        site.request("3.0.0", 2, promoted=True)
        await site.until(lambda: site.rollout.record.candidate == "3.0.0")
        disk.let.set()
        await site.settled()
        assert site.rollout.record.active == "3.0.0"
    assert [it.refused for it in journal.written if it.refused] == []
    assert [it.reason for it in journal.written if it.reason] == []


@pytest.mark.parametrize("version", ["0.1.0", "~0.1.0"])
async def test_a_version_requested_while_older_ones_go_stays_and_serves(stock: Path, disk: Held, version: str) -> None:
    async with open_site(stock, keep=1) as site:
        await committed(site, disk)
        site.request(version, 2, promoted=True)  # 0.1.0 would go next
        await site.until(lambda: site.rollout.record.candidate == version)
        disk.let.set()
        await site.settled()
        assert site.rollout.record.active == "0.1.0"
    assert "0.2.0" not in Repository(stock).versions(MODEL)


async def test_a_version_requested_while_it_goes_is_refused_once_it_has_gone(stock: Path, disk: Held) -> None:
    async with open_site(stock, keep=1) as site:
        await committed(site, disk)
        site.request("0.2.0", 2, promoted=True)
        await site.until(lambda: site.rollout.record.candidate == "0.2.0")
        assert site.rollout.record.step is Step.RESOLVE
        disk.let.set()
        await site.until(lambda: site.rollout.record.step is Step.IDLE)
        assert "no version '0.2.0'; there are" in site.rollout.record.reason
        assert site.rollout.record.active == "2.0.0"
        assert set(site.street.versions()[-4:]) == {"2.0.0"}


async def test_a_request_that_only_changes_the_threshold_waits_for_no_removal(stock: Path, disk: Held) -> None:
    async with open_site(stock, keep=1) as site:
        await committed(site, disk)
        site.request("2.0.0", 2, threshold=0.4)
        await site.until(lambda: site.rollout.record.generation == 2)
        assert site.slot.threshold == 0.4


class Faulty(Journal):
    """A journal on a disk that fails while a rollout is at, or goes to, one of `steps`."""

    def __init__(self, folder: Path, code: int, *steps: Step) -> None:
        super().__init__(folder)
        self.code, self.steps, self.is_failing = code, steps, True

    def _put(self, name: str, data: bytes) -> None:
        if self.is_failing and msgspec.json.decode(data, type=Record).step in self.steps:
            raise OSError(self.code, os.strerror(self.code))
        super()._put(name, data)


@pytest.mark.fault(13)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", [step for step in Step if step is not Step.IDLE])
async def test_a_disk_that_fails_at_any_step_holds_up_no_stop(root: Path, step: Step, code: int) -> None:
    write_version(root, "2.0.0", [(2, 0.9)] if step is Step.ROLLBACK else LIKE_IT)
    journal = Faulty(root / ".state", code, step, Step.ROLLBACK, Step.IDLE)
    strategy = "canary" if step is Step.CANARY else "shadow" if step is Step.SHADOW else "swap"
    async with open_site(root, journal=journal) as site:
        store = FolderStateStore(root / ".desired")
        engine = Engine(site.served, Preparer(Repository(root), RUNTIME), journal, store)
        running = asyncio.create_task(forever("updates", engine.run))
        observe = ObserveOptions(min_frames=40, hold_seconds=0.2)
        await engine.deploy(MODEL, ModelRequest(version="2.0.0", strategy=strategy, observe=observe))  # type: ignore[arg-type]
        rollout = engine.rollout(MODEL)
        await site.until(lambda: rollout.record.step is step or rollout.record.reason != "")
        began = time.monotonic()
        running.cancel()
        await asyncio.wait({running}, timeout=5)
        assert running.cancelled()
        assert time.monotonic() - began < 2


@pytest.mark.fault(16)
async def test_a_full_disk_leaves_no_update_stuck_and_it_is_tried_again_when_there_is_room(root: Path) -> None:
    write_version(root, "2.0.0", LIKE_IT)
    journal = Faulty(root / ".state", errno.ENOSPC, Step.OBSERVE, Step.ROLLBACK, Step.IDLE)
    async with open_site(root, journal=journal) as site:
        site.request("2.0.0")
        await site.until(lambda: "No space left" in site.rollout.record.reason)
        record = site.rollout.record
        assert (record.step, record.candidate, record.quarantine, record.boots) == (Step.IDLE, "", (), 0)
        assert site.slot.model.version == "1.0.0"
        assert not site.slot.active.is_update
        assert journal.read(MODEL).step is Step.SWITCH
        site.rollout.flush()
        assert site.rollout.record is record, "the disk is still full"
        journal.is_failing = False
        site.rollout.flush()
        await site.until(lambda: site.rollout.record.active == "2.0.0")
        assert journal.read(MODEL).active == "2.0.0"


@pytest.mark.fault(16)
async def test_a_stop_after_a_full_disk_blames_no_candidate_that_was_rolled_back(root: Path) -> None:
    write_version(root, "2.0.0", [(2, 0.9)])
    journal = Faulty(root / ".state", errno.ENOSPC, Step.ROLLBACK, Step.IDLE)
    async with open_site(root, journal=journal) as site:
        await site.until(lambda: len(site.street.findings) > 60)
        site.request("2.0.0")
        await site.until(lambda: bool(site.rollout.record.quarantine))
        journal.is_failing = False
        site.rollout.end()
    record = journal.read(MODEL)
    assert (record.step, record.boots, [it.version for it in record.quarantine]) == (Step.IDLE, 0, ["2.0.0"])


@pytest.mark.fault(16)
async def test_a_retry_counts_once_for_each_generation(root: Path) -> None:
    write_version(root, "2.0.0", [(2, 0.9)])
    async with open_site(root) as site:
        await site.until(lambda: len(site.street.findings) > 60)
        for generation, is_tried in ((1, True), (2, True), (2, False), (3, True)):
            site.request("2.0.0", generation, retry=generation > 1)
            await site.settled()
            await site.until(lambda: site.rollout.record.reason != "")
            assert ("is quarantined" in site.rollout.record.reason) != is_tried
            assert [it.version for it in site.rollout.record.quarantine] == ["2.0.0"]
            site.rollout.request(Deployment(ModelRequest(version="1.0.0"), generation + 100))
            await site.until(lambda: site.rollout.record.reason == "")


@pytest.mark.fault(20)
async def test_a_locked_model_is_not_swapped_by_a_request_at_any_step(root: Path) -> None:
    for version in ("2.0.0", "3.0.0"):
        write_version(root, version, LIKE_IT)
    slow = ObserveOptions(min_frames=10_000, hold_seconds=60)
    async with open_site(root) as site:
        site.request("2.0.0", 1, observe=slow)
        await site.until(lambda: site.rollout.record.step is Step.OBSERVE)
        site.rollout.lock(True)
        site.request("3.0.0", 2)
        await asyncio.sleep(0.5)
        assert (site.slot.model.version, site.rollout.record.step) == ("2.0.0", Step.OBSERVE)
        site.rollout.promote()
        await site.until(lambda: site.rollout.record.active == "2.0.0")
        site.rollout.lock(False)
        await site.until(lambda: site.rollout.record.active == "3.0.0")
        site.request("2.0.0", 3, strategy="shadow", observe=slow)
        await site.until(lambda: site.rollout.record.step is Step.SHADOW)
        site.rollout.lock(True)
        site.rollout.promote()
        await site.until(lambda: "LOCKED" in site.rollout.record.reason)
        assert (site.slot.model.version, site.slot.active.is_update) == ("3.0.0", False)
        assert site.rollout.record.quarantine == ()
