"""Blocking work on a thread that nobody waits for at the end."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from app_inference.background import in_background, short_switch_interval


async def test_its_answer_and_its_error_come_back() -> None:
    assert await in_background(lambda: 7) == 7
    with pytest.raises(ValueError, match="x"):
        await in_background(int, "x")


async def test_who_does_not_wait_any_more_is_told_nothing() -> None:
    begun, ended, problems = threading.Event(), threading.Event(), list[object]()

    def wait() -> bool:
        begun.set()
        return ended.wait(5)

    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    waiting = asyncio.create_task(in_background(wait))
    assert await asyncio.to_thread(begun.wait, 5)
    (thread,) = [it for it in threading.enumerate() if it.name == "background:wait"]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ended.set()
    await asyncio.to_thread(thread.join, 5)  # its answer is in the loop's hands before this one's
    assert not problems


def test_a_process_ends_while_it_goes_on() -> None:
    program = (
        "import asyncio, time\nfrom app_inference.background import in_background\n"
        "async def main():\n"
        "    task = asyncio.create_task(in_background(time.sleep, 60))\n"
        "    await asyncio.sleep(0.1)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program], timeout=25).returncode == 0
    assert time.monotonic() - started < 20


def test_a_process_that_leaves_while_foreign_code_runs_ends_with_its_own_status() -> None:
    program = (
        "import asyncio, sys\nimport numpy as np\nimport openvino as ov\nfrom openvino import opset13 as op\n"
        "from app_inference.background import in_background, exit_process\n"
        "x = op.parameter([1, 3, 64, 64], np.float32)\nnode = x\n"
        "for _ in range(300):\n"
        "    weights = op.constant(np.full((3, 3, 3, 3), 0.1, np.float32))\n"
        "    node = op.tanh(op.convolution(node, weights, [1, 1], [1, 1], [1, 1], [1, 1]))\n"
        "graph, core = ov.Model([node], [x], 'deep'), ov.Core()\n"
        "async def main():\n"
        "    task = asyncio.create_task(in_background(core.compile_model, graph, 'CPU'))\n"
        "    await asyncio.sleep(0.1)\n"
        "    print(task.done(), flush=True)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\nexit_process(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stdout, done.stderr) == (3, "False\n", "")


def test_turns_are_short_within_the_block_alone() -> None:
    before = sys.getswitchinterval()
    with short_switch_interval():
        assert sys.getswitchinterval() < before / 10
    assert sys.getswitchinterval() == before
