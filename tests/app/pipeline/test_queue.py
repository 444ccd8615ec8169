"""Frames wait for a worker, the newest of each camera; results leave in order, and every frame is accounted for."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from app_inference.pipeline import queue as module
from app_inference.pipeline.queue import FrameQueue, QueuedFrame
from hypothesis import given, settings
from hypothesis import strategies as st

CAMERAS = ("gate", "yard", "dock")


class Rig:
    """An queue, and what it said."""

    def __init__(self) -> None:
        self.refused = 0
        self.forgotten: list[str] = []
        self.queue = FrameQueue(self.refuse, self.forgotten.extend)

    def refuse(self) -> None:
        self.refused += 1

    def take(self) -> QueuedFrame:
        taken = self.queue.take()
        assert taken is not None
        return taken

    def take_and_finish(self) -> str:
        taken = self.take()
        taken.done(None)
        return taken.topic

    def pass_through(self, topic: str) -> None:
        self.queue.put(topic, b"x")
        self.take_and_finish()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_newest_frame_of_a_camera_wins_and_the_others_are_counted(rig: Rig) -> None:
    for number in range(5):
        rig.queue.put("gate", b"%d" % number)
    taken = rig.take()
    assert (taken.data, taken.replaced) == (b"4", 4)
    rig.queue.put("gate", b"5")
    assert rig.take().replaced == 0


@pytest.mark.fault(24)
def test_a_frame_knows_how_many_came_before_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    for size in (1, 1, 99, 1):  # the third is refused
        rig.queue.put("gate", bytes(size))
    rig.queue.put("yard", b"x")
    assert {taken.topic: taken.arrived for taken in (rig.take(), rig.take())} == {"gate": 4, "yard": 1}


def test_the_time_of_arrival_is_that_of_the_frame_that_won(rig: Rig) -> None:
    rig.queue.put("gate", b"old")
    before = time.time_ns()
    rig.queue.put("gate", b"new")
    assert before <= rig.take().received_ns <= time.time_ns()


def test_results_leave_in_the_order_of_their_frames(rig: Rig) -> None:
    out: list[int] = []
    frames = []
    for _ in range(3):
        rig.queue.put("gate", b"x")
        frames.append(rig.take())
    frames[2].done(lambda _: out.append(2))
    frames[1].done(None)
    assert out == []
    frames[0].done(lambda _: out.append(0))
    assert out == [0, 2]


def test_a_result_hears_how_many_frames_of_its_camera_have_gone_by(rig: Rig) -> None:
    heard: list[int] = []
    for replaced in (0, 2, 1):
        for _ in range(replaced + 1):
            rig.queue.put("gate", b"x")
        rig.take().done(heard.append)
    assert heard == [1, 4, 6]


def test_a_result_that_fails_to_leave_does_not_hold_up_those_behind_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    out: list[int] = []
    frames = []
    for _ in range(2):
        rig.queue.put("gate", b"x")
        frames.append(rig.take())
    frames[1].done(out.append)
    frames[0].done(_fail)
    assert out == [2]
    assert "a result for 'gate' could not be published" in caplog.text


def _fail(_count: int) -> None:
    raise LookupError


def test_frames_behind_one_that_hangs_do_not_pile_up_and_other_cameras_go_on(rig: Rig) -> None:
    rig.queue.put("gate", b"hangs")
    hanging = rig.take()
    for _ in range(100):
        rig.queue.put("gate", b"x")
        rig.queue.put("yard", b"y")
        rig.take().done(lambda _: None)
        if rig.queue._offered:
            rig.take().done(lambda _: None)
    assert len(hanging.camera_queue._early) == module.MAX_IN_PROGRESS - 1
    assert rig.queue._cameras["yard"].finished == 100
    assert not rig.queue._offered  # of the gate one frame waits, and no worker gets it
    hanging.done(None)
    assert rig.take().data == b"x"


@pytest.mark.parametrize("workers", [1, 4])
def test_with_random_work_order_holds_nothing_is_doubled_and_every_frame_is_accounted_for(workers: int) -> None:
    rig, out, missed = Rig(), defaultdict(list), Counter[str]()
    lock = threading.Lock()
    sent = 600

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while (taken := rig.queue.take()) is not None:
            time.sleep(chance.choice((0, 0, 0.001, 0.004)))
            with lock:
                missed[taken.topic] += taken.replaced
            seq = int(taken.data)
            taken.done(_append(out[taken.topic], seq))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(workers)]
    for thread in threads:
        thread.start()
    for seq in range(sent):
        for camera in CAMERAS:
            rig.queue.put(camera, b"%d" % seq)
        time.sleep(0.0005)
    _until(lambda: all(waiting.is_idle for waiting in rig.queue._cameras.values()))
    rig.queue.close()
    for thread in threads:
        thread.join()

    for camera in CAMERAS:
        assert out[camera] == sorted(set(out[camera]))
        assert out[camera][-1] == sent - 1
        assert len(out[camera]) + missed[camera] == sent
    assert min(map(len, out.values())) > 0.7 * max(map(len, out.values()))


def _append(place: list[int], seq: int) -> Callable[[int], None]:
    return lambda _: place.append(seq)


def _until(check: Callable[[], Any], wait: float = 10) -> None:
    deadline = time.monotonic() + wait
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(CAMERAS)),
        st.tuples(st.just("take"), st.none()),
        st.tuples(st.just("leave"), st.integers(0, 20)),
        st.tuples(st.just("fail"), st.integers(0, 20)),
    ),
    max_size=120,
)


@settings(max_examples=200)
@given(STEPS)
def test_whatever_happens_sent_is_results_and_dropped_and_waiting(steps: list[tuple[str, Any]]) -> None:
    rig, sent, missed = Rig(), Counter[str](), Counter[str]()
    out: dict[str, list[int]] = defaultdict(list)
    gone_by: dict[str, int] = {}
    under_way: list[QueuedFrame] = []
    for step, what in steps:
        if step == "put":
            rig.queue.put(what, b"%d" % sent[what])
            sent[what] += 1
        elif step == "take" and rig.queue._offered:
            under_way.append(rig.take())
            missed[under_way[-1].topic] += under_way[-1].replaced
        elif step in ("leave", "fail") and under_way:
            taken = under_way.pop(what % len(under_way))
            taken.done(_leaving(taken, out, gone_by) if step == "leave" else None)
        assert len(rig.queue._offered) <= len(CAMERAS)
    for waiting in rig.queue._cameras.values():
        camera = waiting.topic
        assert sent[camera] == waiting.taken + missed[camera] + waiting.replaced + (waiting.waiting is not None)
        assert out[camera] == sorted(set(out[camera]))
        assert gone_by.get(camera, 0) <= waiting.passed <= waiting.taken + missed[camera]
        assert waiting.taken - waiting.finished <= module.MAX_IN_PROGRESS
    assert rig.queue._bytes == sum(len(waiting.waiting or b"") for waiting in rig.queue._cameras.values())


def _leaving(taken: QueuedFrame, out: dict[str, list[int]], gone_by: dict[str, int]) -> Callable[[int], None]:
    def leave(count: int) -> None:
        out[taken.topic].append(int(taken.data))
        gone_by[taken.topic] = count
        assert count == int(taken.data) + 1

    return leave


def test_of_more_topics_than_there_may_be_the_longest_silent_makes_room(rig: Rig) -> None:
    rig.pass_through("gate")
    for number in range(module.MAX_CAMERAS - 1):
        rig.pass_through(f"noise/{number}")
    rig.pass_through("gate")
    for number in range(500):
        rig.pass_through(f"more/{number}")
    assert rig.forgotten == [f"noise/{number}" for number in range(500)]
    assert len(rig.queue._cameras) == module.MAX_CAMERAS
    assert rig.refused == 0


def test_a_topic_too_many_is_refused_and_counted_while_all_others_wait(rig: Rig) -> None:
    for number in range(module.MAX_CAMERAS):
        rig.queue.put(f"camera/{number}", b"x")
    rig.queue.put("one/more", b"x")
    rig.queue.put("one/more", b"x")
    rig.queue.put("camera/0", b"y")
    assert (rig.refused, rig.forgotten) == (2, [])
    assert rig.take().data == b"y"


def test_a_camera_whose_frame_is_analysed_is_never_forgotten(rig: Rig) -> None:
    rig.queue.put("gate", b"x")
    analysed = rig.take()
    for number in range(module.MAX_CAMERAS + 50):
        rig.pass_through(f"noise/{number}")
    assert "gate" not in rig.forgotten
    analysed.done(None)
    for number in range(module.DROPPED_AT_ONCE):
        rig.pass_through(f"more/{number}")
    assert "gate" in rig.forgotten


def test_waiting_frames_are_bounded_in_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1000)
    rig.queue.put("gate", bytes(600))
    rig.queue.put("yard", bytes(600))
    assert rig.refused == 1
    rig.queue.put("gate", bytes(1000))  # in the place of the first
    assert rig.refused == 1
    assert len(rig.take().data) == 1000
    rig.queue.put("yard", bytes(600))
    assert rig.refused == 1


def test_closing_sends_every_worker_home(rig: Rig) -> None:
    threads = [threading.Thread(target=rig.queue.take) for _ in range(3)]
    for thread in threads:
        thread.start()
    rig.queue.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert rig.queue.take() is None


def test_a_camera_with_many_frames_waits_its_turn_like_the_others(rig: Rig) -> None:
    taken = []
    for _ in range(30):
        for _ in range(20):
            rig.queue.put("fast", b"x")
        rig.queue.put("slow", b"x")
        rig.queue.put("slower", b"x")
        taken += [rig.take_and_finish() for _ in range(2)]
    assert {abs(count - 20) for count in Counter(taken).values()} <= {0, 1}


def test_new_topics_get_no_lead_over_a_camera_that_is_there(rig: Rig) -> None:
    rig.pass_through("gate")
    rig.pass_through("yard")
    for number in range(50):
        rig.queue.put(f"noise/{number}", b"x")
    rig.queue.put("yard", b"x")
    rig.queue.put("gate", b"x")
    assert {rig.take_and_finish(), rig.take_and_finish()} == {"gate", "yard"}


def test_the_freshest_frame_of_all_cameras_goes_first(rig: Rig) -> None:
    for camera in CAMERAS:
        rig.queue.put(camera, b"1")
    rig.queue.put("yard", b"2")
    assert [rig.take().topic for _ in CAMERAS] == ["yard", "dock", "gate"]


def test_fresher_frames_of_others_keep_a_camera_waiting_for_a_few_turns_only(rig: Rig) -> None:
    for camera in CAMERAS:
        rig.pass_through(camera)
    rig.queue.put("gate", b"old")
    taken = []
    while "gate" not in taken:
        for camera in CAMERAS[1:]:
            rig.queue.put(camera, b"fresh")
        taken.append(rig.take_and_finish())
    assert len(taken) <= 2 * len(CAMERAS[1:]) * module.LEAD


def test_a_camera_that_seldom_sends_is_served_at_once_among_busy_ones(rig: Rig) -> None:
    rig.pass_through("gate")
    for _ in range(50):
        for camera in CAMERAS[1:]:
            rig.queue.put(camera, b"x")
        rig.take_and_finish()
    rig.queue.put("gate", b"x")
    for camera in CAMERAS[1:]:
        rig.queue.put(camera, b"fresher")
    assert rig.take_and_finish() == "gate"
