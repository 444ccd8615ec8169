"""A camera whose pictures take too long to decode is suspended; the others and the process go on."""

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from app_inference.errors import ImageBroken
from app_inference.pipeline import suspension as module
from app_inference.pipeline.analysis import FrameAnalyser
from app_inference.pipeline.counters import FrameCounters
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.queue import FrameQueue
from app_inference.pipeline.suspension import Suspension, TooSlow
from app_inference.pipeline.workers import open_workers
from app_inference.settings import InferenceSection
from edgex_kit.jpeg import Limits
from edgex_kit.service.metrics import Metrics
from edgex_kit.supervision import Backoff
from edgex_kit.wire.topics import Topics

from tests.conformance.app_process import frame_event, frame_message, frame_topic

pytestmark = pytest.mark.fault(3)


def work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def decode(suspension: Suspension, camera: str, seconds: float) -> None:
    with suspension.decoding(camera):
        work(seconds)


def test_a_slow_picture_suspends_its_camera_and_no_other() -> None:
    suspension = Suspension(0.02)
    with pytest.raises(TooSlow) as refused:
        decode(suspension, "gate", 0.03)
    with pytest.raises(TooSlow) as again:
        decode(suspension, "gate", 0)
    assert str(again.value) == str(refused.value)
    decode(suspension, "yard", 0)


def test_it_is_tried_with_one_picture_after_a_while_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", Backoff(0.05, 4.0, 1.0, 0.0))
    suspension, admitted = Suspension(0.02), 0
    with pytest.raises(TooSlow):
        decode(suspension, "gate", 0.03)
    time.sleep(0.06)
    with pytest.raises(TooSlow):
        slowly_twice_at_once(suspension)
    for _ in range(10):
        time.sleep(0.02)
        try:
            decode(suspension, "gate", 0)
        except TooSlow:
            continue
        admitted += 1
    assert 1 <= admitted < 4, "the second delay is four times the first"
    decode(suspension, "gate", 0)


def slowly_twice_at_once(suspension: Suspension) -> None:
    with suspension.decoding("gate"):
        with pytest.raises(TooSlow):
            decode(suspension, "gate", 0)  # another worker, meanwhile
        work(0.03)


def test_a_machine_that_is_busy_or_a_limit_of_0_suspends_nobody() -> None:
    with Suspension(0.02).decoding("gate"):
        time.sleep(0.05)  # no processor time
    decode(Suspension(0), "gate", 0.05)


def progressive_with_scans(count: int) -> bytes:
    """A small progressive JPEG whose last scan comes again and again."""
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def huge_header() -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (20_000).to_bytes(2, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (progressive_with_scans(400), "MaxScans"),
        (huge_header(), "MaxPixels"),
        (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 100_000, "JPEG"),
        (b"\xff\xd8" + b"\xff" * 1_000_000, "JPEG"),
        (bytes(3 << 20), "MaxSize"),
    ],
    ids=["scans", "pixels", "segments", "fill bytes", "size"],
)
def test_a_picture_bomb_is_refused_in_milliseconds_and_counted_against_its_camera(picture: bytes, reason: str) -> None:
    metrics, view = Metrics("app"), LiveView()
    counters = FrameCounters(metrics, view)
    limits = Limits(size=2 << 20)
    analyser = FrameAnalyser(Topics(), None, view, counters, InferenceSection(), limits)  # type: ignore[arg-type]
    pipeline: Any = SimpleNamespace(
        id="p",
        wants=lambda _: True,
        section=SimpleNamespace(rate=0),
        served=SimpleNamespace(model=SimpleNamespace(input_size=(32, 32), resolved=SimpleNamespace(keeps_ratio=False))),
    )
    analyser.plan = module_plan(pipeline)
    queue = FrameQueue(lambda: None, lambda _: None)
    queue.put(frame_topic("gate"), frame_message(frame_event("gate", picture, 1)))
    queued = queue.take()
    assert queued is not None
    before = time.thread_time()
    analyser.analyse(queued)
    assert time.thread_time() - before < 0.2
    assert reason in view.status()[0]["lastError"]
    assert metrics.counter("FramesDropped", camera="gate", reason=ImageBroken.__name__).value == 1


def module_plan(*pipelines: Any) -> Any:
    return SimpleNamespace(for_camera=lambda _: list(pipelines), wants=lambda _: True, pipelines=pipelines)


async def test_a_worker_that_decodes_for_long_does_not_end_the_process() -> None:
    suspension, go = Suspension(0), threading.Event()

    def analyse(taken: Any) -> None:
        with suspension.decoding("gate"):
            go.wait(10)
        taken.done(None)

    queue = FrameQueue(lambda: None, lambda _: None)
    with open_workers(1, queue, SimpleNamespace(analyse=analyse, suspension=suspension)) as workers:  # type: ignore[arg-type]
        queue.put("gate", b"x")
        watching = asyncio.create_task(workers.watch(0.1))
        await asyncio.sleep(0.5)
        assert not watching.done()
        watching.cancel()
        go.set()
