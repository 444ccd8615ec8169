"""Workers take frame after frame; one that stays in a frame is noticed."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from app_inference.errors import InferenceFailed
from app_inference.pipeline.queue import FrameQueue, QueuedFrame
from app_inference.pipeline.suspension import Suspension
from app_inference.pipeline.workers import open_workers


class Looking:
    """Stands where the analyst does, and does what the test says with each frame."""

    def __init__(self, act: Callable[[QueuedFrame], object]) -> None:
        self.act = act
        self.threads: set[str] = set()
        self.suspension = Suspension(0)

    def analyse(self, taken: QueuedFrame) -> None:
        self.threads.add(threading.current_thread().name)
        self.act(taken)
        taken.done(None)


def a_queue() -> FrameQueue:
    return FrameQueue(lambda: None, lambda _: None)


def test_every_worker_takes_its_part() -> None:
    queue, met = a_queue(), threading.Barrier(3)
    looking = Looking(lambda _: met.wait(10))
    with open_workers(3, queue, looking):  # type: ignore[arg-type]
        for number in range(3):
            queue.put(f"camera/{number}", b"x")
        while not queue._cameras["camera/2"].is_idle:
            pass
    assert looking.threads == {"worker-0", "worker-1", "worker-2"}
    assert not [it for it in threading.enumerate() if it.name.startswith("worker-")]


async def test_a_worker_that_stays_in_a_frame_is_named_with_its_topic() -> None:
    queue, go = a_queue(), threading.Event()
    with open_workers(2, queue, Looking(lambda _: go.wait(10))) as workers:  # type: ignore[arg-type]
        queue.put("edgex/frames/a/b/gate/Frame", b"x")
        with pytest.raises(InferenceFailed, match=r"worker \d has been busy with one frame on '.*gate.*' for 0.2 s"):
            await asyncio.wait_for(workers.watch(0.2), 5)
        go.set()


async def test_work_that_takes_its_time_but_ends_is_fine() -> None:
    queue = a_queue()
    with open_workers(1, queue, Looking(lambda _: time.sleep(0.05))) as workers:  # type: ignore[arg-type]
        watching = asyncio.create_task(workers.watch(0.4))
        for _ in range(14):
            queue.put("gate", b"x")
            await asyncio.sleep(0.05)
        assert not watching.done()
        watching.cancel()


async def test_a_watch_of_0_seconds_is_none() -> None:
    with open_workers(1, a_queue(), Looking(lambda _: None)) as workers:  # type: ignore[arg-type]
        await asyncio.wait_for(workers.watch(0), 1)
