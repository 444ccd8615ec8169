"""A candidate that seems slow, by the machine's fault or its own; and one of which nothing is proved."""

import asyncio
from pathlib import Path

import pytest
from app_inference.pipeline.comparing import Comparisons
from app_inference.pipeline.samples import Evidence, Sample
from app_inference.rollout import observation
from app_inference.rollout.desired import ModelRequest, ObserveOptions
from app_inference.rollout.observation import Breach, Observation, Pair
from msgspec.structs import replace

from tests.app.updating import open_version, write_version

REQUEST = ModelRequest(version="2.0.0", observe=ObserveOptions(min_frames=10, hold_seconds=0.1))


async def observe(root: Path, work: int) -> Observation:
    """A version that took 1 ms a frame, and one that takes 50 in the frames, whatever it takes in turn."""
    write_version(root, "1.0.0")
    write_version(root, "2.0.0", work=work)
    before, candidate = open_version(root, "1.0.0"), open_version(root, "2.0.0")
    quick, slow = Evidence(), Evidence()
    for _ in range(150):
        quick.add(Sample(1.0, class_ids=(0,), score_sum=0.9))
        slow.add(Sample(50.0, class_ids=(0,), score_sum=0.9))

    return await pass_by(Pair(before, candidate, lambda: (quick, slow), Comparisons()), REQUEST)


async def pass_by(pair: Pair, request: ModelRequest) -> Observation:
    seen = Observation("det", lambda: None)
    await seen.passed(pair, lambda: request, lambda: asyncio.sleep(0.01))
    return seen


def unsure(root: Path) -> Pair:
    """Two versions that agree neither well nor badly; evidence enough, and nothing compared."""
    write_version(root, "1.0.0")
    few, many = Evidence(), Evidence()
    for _ in range(100):
        few.add(Sample(1.0, class_ids=(0,), score_sum=0.9))
        many.add(Sample(1.0, class_ids=(0,) * 9, score_sum=8.1))
    model = open_version(root, "1.0.0")
    return Pair(model, model, lambda: (few, many), Comparisons())


async def test_a_version_that_is_as_quick_in_turn_is_not_blamed_for_a_busy_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    seen = await observe(tmp_path, work=0)
    assert seen.judgement.verdict == "pass"
    assert seen.judgement.values["p99Ratio"] == 50  # what was seen is told all the same
    assert "the machine is busier" in caplog.text


@pytest.mark.goal(19)
async def test_a_version_that_is_slower_in_turn_goes_back(tmp_path: Path) -> None:
    with pytest.raises(Breach, match="maxP99Ratio"):
        await observe(tmp_path, work=60)


async def test_an_excuse_does_not_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "EXCUSED", 0.0)
    timed: list[float] = []

    def in_turn(*_: object) -> tuple[float, float]:
        timed.append(50.0 if timed else 1.0)
        return 1.0, timed[-1]

    monkeypatch.setattr(observation, "in_turn_ms", in_turn)
    with pytest.raises(Breach):
        await observe(tmp_path, work=0)
    assert timed == [1.0, 50.0]


async def test_an_operator_decides_where_nothing_is_proved(tmp_path: Path) -> None:
    pair = unsure(tmp_path)
    seen = Observation("det", lambda: None)
    waiting = asyncio.create_task(seen.passed(pair, lambda: REQUEST, lambda: asyncio.sleep(0.01)))
    async with asyncio.timeout(10):
        while seen.judgement.verdict != "inconclusive":
            await asyncio.sleep(0.01)
        assert not waiting.done()
        seen.promote()
        await waiting


async def test_or_the_request_decides_beforehand(tmp_path: Path) -> None:
    pair = unsure(tmp_path)
    observe = ObserveOptions(min_frames=10, hold_seconds=0, on_inconclusive="promote")
    assert (await pass_by(pair, replace(REQUEST, observe=observe))).judgement.verdict == "inconclusive"
    with pytest.raises(Breach) as breach:
        await pass_by(pair, replace(REQUEST, observe=replace(observe, on_inconclusive="rollback")))
    assert not breach.value.is_proved
