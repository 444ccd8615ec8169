"""device_camera.capture.counters: the sum is always right."""

import random
import threading

from device_camera.capture.counters import BUSY, Counters, FrameCounter


def is_right(counters: Counters) -> bool:
    return counters.captured == counters.published + sum(counters.dropped.values())


def test_a_replaced_frame_is_dropped_and_the_newer_one_published() -> None:
    counter = FrameCounter()
    counter.count_published(replaced=False)
    counter.count_published(replaced=True)
    counters = counter.read()
    assert (counters.captured, counters.published, dict(counters.dropped)) == (2, 1, {BUSY: 1})


def test_a_withdrawn_frame_is_dropped_and_not_published() -> None:
    counter = FrameCounter()
    counter.count_published(replaced=False)
    counter.count_withdrawn("too-large")
    counters = counter.read()
    assert (counters.captured, counters.published, dict(counters.dropped)) == (1, 0, {"too-large": 1})


def test_what_was_read_does_not_change_later() -> None:
    counter = FrameCounter()
    counter.count_dropped("rate")
    before = counter.read()
    counter.count_dropped("rate")
    assert dict(before.dropped) == {"rate": 1}


def test_no_reader_sees_a_frame_counted_on_one_side_only() -> None:
    counter, done = FrameCounter(), threading.Event()
    chance = random.Random(1)

    def count() -> None:
        for _ in range(20_000):
            if chance.random() < 0.5:
                counter.count_published(replaced=chance.random() < 0.3)
            else:
                counter.count_dropped(chance.choice(["rate", "damaged"]))
        done.set()

    thread = threading.Thread(target=count)
    thread.start()
    while not done.is_set():
        assert is_right(counter.read())
    thread.join()
    assert counter.read().captured == 20_000
    assert is_right(counter.read())
