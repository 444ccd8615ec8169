"""Blocking work on a thread that nobody waits for at the end."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from app_inference.aside import aside


async def test_its_answer_and_its_error_come_back() -> None:
    assert await aside(lambda: 7) == 7
    with pytest.raises(ValueError, match="x"):
        await aside(int, "x")


async def test_who_does_not_wait_any_more_is_told_nothing() -> None:
    ended, problems = threading.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    waiting = asyncio.create_task(aside(ended.wait, 5))
    await asyncio.sleep(0.05)
    (thread,) = [it for it in threading.enumerate() if it.name == "aside:wait"]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ended.set()
    await asyncio.to_thread(thread.join, 5)  # its answer is in the loop's hands before this one's
    assert not problems


def test_a_process_ends_while_it_goes_on() -> None:
    program = (
        "import asyncio, time\nfrom app_inference.aside import aside\n"
        "async def main():\n"
        "    task = asyncio.create_task(aside(time.sleep, 60))\n"
        "    await asyncio.sleep(0.1)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program], timeout=25).returncode == 0
    assert time.monotonic() - started < 20
