"""Workers take frame after frame; one that stays in a frame is noticed."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from app_inference.errors import InferenceFailed
from app_inference.pipeline.queue import FrameQueue, QueuedFrame
from app_inference.pipeline.workers import open_workers


class Looking:
    """Stands where the analyst does, and does what the test says with each frame."""

    def __init__(self, act: Callable[[QueuedFrame], object]) -> None:
        self.act = act
        self.threads: set[str] = set()

    def look(self, arrival: QueuedFrame) -> None:
        self.threads.add(threading.current_thread().name)
        self.act(arrival)
        arrival.leave(None)


def an_inbox() -> FrameQueue:
    return FrameQueue(lambda: None, lambda _: None)


def test_every_worker_takes_its_part() -> None:
    inbox, met = an_inbox(), threading.Barrier(3)
    looking = Looking(lambda _: met.wait(10))
    with open_workers(3, inbox, looking):  # type: ignore[arg-type]
        for number in range(3):
            inbox.put(f"camera/{number}", b"x")
        while not inbox._lanes["camera/2"].is_at_rest:
            pass
    assert looking.threads == {"worker-0", "worker-1", "worker-2"}
    assert not [it for it in threading.enumerate() if it.name.startswith("worker-")]


async def test_a_worker_that_stays_in_a_frame_is_named_with_its_topic() -> None:
    inbox, go = an_inbox(), threading.Event()
    with open_workers(2, inbox, Looking(lambda _: go.wait(10))) as workers:  # type: ignore[arg-type]
        inbox.put("edgex/frames/a/b/gate/Frame", b"x")
        with pytest.raises(InferenceFailed, match=r"worker \d has been busy with one frame on '.*gate.*' for 0.2 s"):
            await asyncio.wait_for(workers.watch(0.2), 5)
        go.set()


async def test_work_that_takes_its_time_but_ends_is_fine() -> None:
    inbox = an_inbox()
    with open_workers(1, inbox, Looking(lambda _: time.sleep(0.05))) as workers:  # type: ignore[arg-type]
        watching = asyncio.create_task(workers.watch(0.4))
        for _ in range(14):
            inbox.put("gate", b"x")
            await asyncio.sleep(0.05)
        assert not watching.done()
        watching.cancel()


async def test_a_watch_of_0_seconds_is_none() -> None:
    with open_workers(1, an_inbox(), Looking(lambda _: None)) as workers:  # type: ignore[arg-type]
        await asyncio.wait_for(workers.watch(0), 1)
