"""Every frame is counted, and each kind of trouble is said once a camera."""

import logging
import time

import pytest
from app_inference.errors import ImageBroken, InferenceFailed, NoPicture
from app_inference.pipeline.counters import BROKEN, LINES, NO_PICTURE, RATE, FrameCounters
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.live_view import LiveView
from app_inference.web.status import counts_by_camera
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.errors import Malformed


class Rig:
    def __init__(self) -> None:
        self.metrics, self.view = Metrics("app-inference"), LiveView()
        self.counters = FrameCounters(self.metrics, self.view)

    def count(self, name: str, **tags: str) -> int:
        return self.metrics.counter(name, **tags).value


@pytest.fixture
def rig(caplog: pytest.LogCaptureFixture) -> Rig:
    caplog.set_level(logging.INFO)
    return Rig()


def test_received_is_analysed_and_dropped(rig: Rig) -> None:
    rig.counters.received("gate", replaced=3)
    rig.counters.analysed("gate")
    rig.counters.received("gate", replaced=0)
    rig.counters.dropped("gate", RATE)
    rig.counters.received("yard", replaced=0)
    rig.counters.dropped("yard", "Malformed", Malformed("no event"))
    counts = counts_by_camera(rig.metrics)
    assert counts["gate"].dropped == {"Replaced": 3, "Rate": 1}
    for camera in ("gate", "yard"):
        assert counts[camera].frames_received == counts[camera].frames_analysed + sum(counts[camera].dropped.values())
    assert rig.count("MessagesReceived") == 6
    assert rig.count("InvalidMessagesReceived") == 1


def test_each_kind_is_said_once_a_camera_and_counted_always(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(50):
        for camera in ("gate", "yard"):
            rig.counters.dropped(camera, "Malformed", Malformed(f"no event {number}"))
            rig.counters.dropped(camera, "ImageBroken", ImageBroken("cut off"))
            rig.counters.failed(camera, "lamps", InferenceFailed("out of memory"))
    assert len(caplog.records) == 6
    assert "a frame of 'gate' was dropped, more of this kind are only counted: no event 0" in caplog.text
    assert "pipeline 'lamps' failed on 'yard', more of this kind are only counted: out of memory" in caplog.text
    assert rig.count("FramesDropped", camera="gate", reason="ImageBroken") == 50
    assert rig.count("InvalidMessagesReceived") == 200
    assert rig.count("PipelineProcessingErrors-lamps", pipeline="lamps") == 100


def test_a_flood_of_broken_cameras_is_no_flood_of_lines(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(500):
        rig.counters.dropped(f"camera-{number}", "ImageBroken", ImageBroken("cut off"))
    assert len(caplog.records) == LINES + 1
    assert "20 cameras had 'ImageBroken' logged within an hour" in caplog.text
    rig.counters.dropped("gate", "Malformed", Malformed("no event"))
    assert "no event" in caplog.text


def test_what_is_meant_to_happen_is_not_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.counters.dropped("gate", RATE)
    assert not caplog.records
    assert rig.view.status() == []


def test_an_event_without_a_picture_is_no_warning_and_its_device_no_camera(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.counters.dropped("thermometer", NO_PICTURE, NoPicture("holds no picture"))
    assert [it.levelname for it in caplog.records] == ["INFO"]
    assert rig.view.status() == []
    assert rig.count("InvalidMessagesReceived") == 0


def test_trouble_is_seen_on_its_camera(rig: Rig) -> None:
    rig.counters.dropped("gate", "ImageBroken", ImageBroken("cut off"))
    assert rig.view.status()[0]["lastError"] == "frame: cut off"
    rig.counters.failed("gate", "lamps", InferenceFailed("out of memory"))
    assert rig.view.status()[0]["lastError"] == "lamps: out of memory"


def test_what_nobody_foresaw_comes_with_its_traceback_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        try:
            _ = [][1]  # noqa: PLE0643
        except IndexError as error:
            rig.counters.dropped("gate", BROKEN, error)
    assert caplog.text.count("Traceback") == 1
    assert "IndexError: list index out of range" in caplog.text


def test_frames_nobody_can_name_are_counted_apart(rig: Rig) -> None:
    rig.counters.refused()
    rig.counters.refused()
    rig.counters.received("", replaced=1)
    rig.counters.dropped("", "Malformed", Malformed("no topic"))
    counts = counts_by_camera(rig.metrics)[""]
    assert counts.dropped == {"InboxFull": 2, "Replaced": 1, "Malformed": 1}
    assert counts.frames_received == 4
    assert rig.view.status() == []


def test_a_camera_that_is_forgotten_leaves_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for camera in ("gate", "yard"):
        rig.counters.received(camera, replaced=1)
        rig.counters.dropped(camera, "Malformed", Malformed("no event"))
    rig.counters.forget({"gate"})
    assert "gate" not in counts_by_camera(rig.metrics)
    assert "yard" in counts_by_camera(rig.metrics)
    assert set(rig.counters._logged) == {"yard"}


def test_the_name_of_a_camera_that_fills_pages_is_cut_in_the_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.counters.dropped("x" * 3000, "Malformed", Malformed("no event"))
    rig.counters.failed("x" * 3000, "p", Malformed("no answer"))
    assert [len(record.getMessage()) < 250 for record in caplog.records] == [True, True]


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("frames", "lost"),
    [
        ([(1, 1), (2, 2), (3, 3)], 0),
        ([(40, 1), (41, 2), (45, 3), (46, 4)], 3),
        ([(1, 1), (9, 5), (5, 2)], 4),  # one before it is read later, by another worker
        ([(7, 1), (8, 2), (1, 3), (2, 4), (4, 5)], 1),  # the camera was restarted
        ([(7, 1), (1, 3), (8, 2), (2, 4)], 0),
        ([(0, 1), (0, 2)], 0),  # a camera that does not number
    ],
)
def test_frames_that_were_published_and_never_came_are_counted(
    rig: Rig, frames: list[tuple[int, int]], lost: int
) -> None:
    for published, arrived in frames:
        rig.counters.arrived(Frame("gate", "f", 1, 1, b"", "image/jpeg", published=published), arrived)
    assert counts_by_camera(rig.metrics)["gate"].frames_lost == lost


@pytest.mark.fault(28)
def test_latency_and_queue_wait_are_measured(rig: Rig) -> None:
    received = time.time_ns() - 20_000_000
    frame = Frame("gate", "f", 1, received - 30_000_000, b"", "image/jpeg", received_ns=received)
    rig.counters.arrived(frame, 1)
    rig.counters.answered(frame, received + 50_000_000)
    assert rig.metrics.histogram("ResultLatencyMs", camera="gate").total == pytest.approx(80)
    assert 20 <= rig.metrics.histogram("QueueWaitMs").total < 5000
    rig.counters.forget({"gate"})
    assert rig.metrics.histogram("ResultLatencyMs", camera="gate").count == 0
