"""Many swaps in a row while frames flow: nothing is lost, nothing piles up."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from app_inference.inference.model import Model

from tests.app.updating import Site, Street, open_site, write_version

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
        assert site.rollout.tallies.swaps == 20
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
