"""The threads that look at frames, and the watch over them."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app_inference.analysis import Analyst
from app_inference.errors import InferenceFailed
from app_inference.inbox import Inbox
from app_inference.settings import InferenceSection

log = logging.getLogger(__name__)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def streams_for(section: InferenceSection) -> int:
    """Inferences that run at once: one thread each is steadier than one inference on many threads (hot path, 4)."""
    return section.streams or cores()


def workers_for(section: InferenceSection) -> int:
    """One worker on one core; otherwise one more than streams, to decode while the others infer (hot path, 7)."""
    return section.workers or (1 if cores() == 1 else streams_for(section) + 1)


class Workers:
    """Running threads; made by `open_workers`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._busy_since: dict[int, float] = {}

    def run(self, number: int, inbox: Inbox, analyst: Analyst) -> None:
        """One worker's life: take, look, again."""
        while (arrival := inbox.take()) is not None:
            self._busy_since[number] = time.monotonic()
            try:
                analyst.look(arrival)
            except Exception:  # one frame's failure is its own: this worker goes on with the next
                log.exception("a frame on '%s' could not be looked at", arrival.topic)
            self._busy_since.pop(number, None)

    async def watch(self, stuck_after: float) -> None:
        """Raise InferenceFailed when every worker has been busy with one frame for `stuck_after` seconds.

        A thread inside OpenVINO cannot be stopped, so the process ends and its supervisor starts it anew.
        """
        while True:
            await asyncio.sleep(min(1.0, stuck_after / 4))
            now = time.monotonic()
            stuck = [number for number, since in list(self._busy_since.items()) if now - since > stuck_after]
            if len(stuck) == self.count:
                raise InferenceFailed(f"all {self.count} workers have been busy with one frame for {stuck_after:g} s")


@contextmanager
def open_workers(count: int, inbox: Inbox, analyst: Analyst) -> Iterator[Workers]:
    """Threads for the length of the block. A stuck one is left behind after two seconds, being a daemon."""
    workers = Workers(count)
    threads = [
        threading.Thread(target=workers.run, args=(n, inbox, analyst), name=f"worker-{n}", daemon=True)
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield workers
    finally:
        inbox.close()
        for thread in threads:
            thread.join(timeout=2)
