"""Lasting tasks are kept alive, calls are tried again, cancellation wins."""

import asyncio
import contextlib
import logging
import random

import pytest
from edgex_kit.supervision import Backoff, every, forever, keep, retry
from edgex_kit.wire.errors import EdgexError, Invalid, NotFound, Unavailable, Unreachable

_SOON = every(0.01)


async def test_a_failed_task_is_started_again_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    started: list[str] = []
    done = asyncio.Event()

    async def fails_twice() -> None:
        started.append("fails")
        if len(started) < 3:
            raise ZeroDivisionError
        done.set()

    async def lasts() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        keep(tasks, {"other": lasts})
        tasks.create_task(forever("one", fails_twice, _SOON))
        await done.wait()
        left = [task for task in asyncio.all_tasks() if task.get_name() == "other"]
        assert len(left) == 1
        left[0].cancel()
    assert len(started) == 3
    assert [bool(record.exc_info) for record in caplog.records] == [True, False], "one traceback for one cause"


@pytest.mark.fault(13)
async def test_a_task_that_fails_while_it_is_cancelled_ends() -> None:
    started = asyncio.Event()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            raise OSError(28, "No space left on device")

    task = asyncio.create_task(forever("observer", run, _SOON))
    await started.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert task.cancelled()
    assert runs == 1


@pytest.mark.fault(13)
async def test_a_retry_ends_when_the_call_turns_the_cancellation_into_its_own_error() -> None:
    started = asyncio.Event()

    async def call() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unreachable("hung up") from None

    task = asyncio.create_task(retry(call, "waiting", backoff=_SOON))
    await started.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert task.cancelled()


async def test_a_call_is_tried_until_it_succeeds_and_each_cause_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[EdgexError | int] = [Unreachable("away"), Unreachable("away"), Unavailable("starting"), 7]

    async def call() -> int:
        answer = answers.pop(0)
        if isinstance(answer, EdgexError):
            raise answer
        return answer

    with caplog.at_level(logging.INFO):
        assert await retry(call, "waiting", backoff=_SOON) == 7
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["away", "starting"]


async def test_a_retry_ends_with_a_final_error_or_when_its_time_is_over() -> None:
    async def call() -> None:
        raise NotFound("no such thing")

    with pytest.raises(NotFound):
        await retry(call, "waiting", is_final=lambda error: error.status == 404)
    with pytest.raises(Unavailable, match="no such thing"):
        await retry(call, "waiting", backoff=_SOON, within=0.03)


def test_delays_grow_up_to_the_most_and_are_spread() -> None:
    backoff, chance = Backoff(1, 2, 30, 0.2), random.Random(1)
    for failures, plain in ((1, 1), (2, 2), (3, 4), (6, 30), (10_000, 30)):
        delays = [backoff.delay(failures, chance) for _ in range(100)]
        assert all(0.8 * plain <= delay <= 1.2 * plain for delay in delays)
        assert len(set(delays)) > 1


@pytest.mark.parametrize("wrong", [{"first": 0.0}, {"factor": 0.5}, {"jitter": 2.0}, {"first": 60.0}])
def test_a_backoff_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        Backoff(**wrong)
