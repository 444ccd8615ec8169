"""Whose frame goes next: the freshest, and before it whoever has waited long or seldom sends."""

from collections import Counter

import pytest
from app_inference.pipeline import queue as room

from tests.app.inbox_rig import CAMERAS, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_camera_with_many_frames_waits_its_turn_like_the_others(rig: Rig) -> None:
    taken = []
    for _ in range(30):
        for _ in range(20):
            rig.inbox.put("fast", b"x")
        rig.inbox.put("slow", b"x")
        rig.inbox.put("slower", b"x")
        taken += [rig.take_and_leave() for _ in range(2)]
    assert {abs(count - 20) for count in Counter(taken).values()} <= {0, 1}


def test_new_topics_get_no_lead_over_a_camera_that_is_there(rig: Rig) -> None:
    rig.pass_through("gate")
    rig.pass_through("yard")
    for number in range(50):
        rig.inbox.put(f"noise/{number}", b"x")
    rig.inbox.put("yard", b"x")
    rig.inbox.put("gate", b"x")
    assert {rig.take_and_leave(), rig.take_and_leave()} == {"gate", "yard"}


def test_the_freshest_frame_of_all_cameras_goes_first(rig: Rig) -> None:
    for camera in CAMERAS:
        rig.inbox.put(camera, b"1")
    rig.inbox.put("yard", b"2")
    assert [rig.take().topic for _ in CAMERAS] == ["yard", "dock", "gate"]


def test_fresher_frames_of_others_keep_a_camera_waiting_for_a_few_turns_only(rig: Rig) -> None:
    for camera in CAMERAS:
        rig.pass_through(camera)
    rig.inbox.put("gate", b"old")
    taken = []
    while "gate" not in taken:
        for camera in CAMERAS[1:]:
            rig.inbox.put(camera, b"fresh")
        taken.append(rig.take_and_leave())
    assert len(taken) <= 2 * len(CAMERAS[1:]) * room.LEAD


def test_a_camera_that_seldom_sends_is_served_at_once_among_busy_ones(rig: Rig) -> None:
    rig.pass_through("gate")
    for _ in range(50):
        for camera in CAMERAS[1:]:
            rig.inbox.put(camera, b"x")
        rig.take_and_leave()
    rig.inbox.put("gate", b"x")
    for camera in CAMERAS[1:]:
        rig.inbox.put(camera, b"fresher")
    assert rig.take_and_leave() == "gate"
