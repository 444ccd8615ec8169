"""The threads that analyse frames, and their watchdog."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app_inference.errors import InferenceFailed
from app_inference.pipeline.analysis import FrameAnalyser
from app_inference.pipeline.queue import FrameQueue

STOP_WAIT = 2.0  # seconds that workers have to end the frame they analyse


class Workers:
    """Running threads; made by `open_workers`."""

    def __init__(self, queue: FrameQueue, analyser: FrameAnalyser) -> None:
        self._queue = queue
        self._analyser = analyser
        self._busy: dict[int, tuple[float, str, int]] = {}  # worker -> since when, with a frame of which topic; thread

    def run(self, number: int) -> None:
        """Take and analyse frames until the queue is closed."""
        thread = threading.get_ident()
        while (queued := self._queue.take()) is not None:
            self._busy[number] = (time.monotonic(), queued.topic, thread)
            self._analyser.analyse(queued)
            self._busy.pop(number, None)

    async def watch(self, stuck_after: float) -> None:
        """Raise InferenceFailed when a worker has been busy with one frame for `stuck_after` seconds; 0 never does.

        Not while it decodes a picture: that ends, and its camera is suspended then. One worker is enough: it holds up
        its camera's results for ever, and others will follow. A thread inside OpenVINO cannot be stopped, so the
        process ends and its supervisor starts it again.
        """
        while stuck_after > 0:
            await asyncio.sleep(min(1.0, stuck_after / 4))
            for number, (since, topic, thread) in list(self._busy.items()):
                is_decoding = self._analyser.suspension.is_decoding(thread)
                if time.monotonic() - since > stuck_after and not is_decoding:
                    text = f"worker {number} has been busy with one frame on '{topic}' for {stuck_after:g} s"
                    raise InferenceFailed(f"{text}; inference hangs, or Inference.StuckAfter is too short")


@contextmanager
def open_workers(count: int, queue: FrameQueue, analyser: FrameAnalyser) -> Iterator[Workers]:
    """Threads for the length of the block. A stuck one is left behind, being a daemon."""
    workers = Workers(queue, analyser)
    threads = [threading.Thread(target=workers.run, args=(n,), name=f"worker-{n}", daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield workers
    finally:
        queue.close()
        deadline = time.monotonic() + STOP_WAIT
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
