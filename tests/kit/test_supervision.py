"""Lasting tasks are kept alive."""

import asyncio

import pytest
from edgex_kit import supervision


async def test_a_failed_task_begins_again_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervision, "_PAUSE", 0.01)
    began: list[str] = []
    done = asyncio.Event()

    async def fails_twice() -> None:
        began.append("fails")
        if len(began) < 3:
            raise ZeroDivisionError
        done.set()

    async def lasts() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        supervision.keep(tasks, {"one": fails_twice, "other": lasts})
        await done.wait()
        left = [task for task in asyncio.all_tasks() if task.get_name() == "other"]
        assert len(left) == 1
        left[0].cancel()
    assert began == ["fails"] * 3
    assert caplog.text.count("one failed and begins again") == 2
