"""A few pictures of each camera are kept, and never more than fit."""

import pytest
from app_inference.pipeline import pictures as room
from app_inference.pipeline.pictures import Picture, Pictures
from hypothesis import given
from hypothesis import strategies as st


def picture(number: int, size: int = 10) -> Picture:
    return Picture(f"f-{number}", "image/jpeg", bytes(size))


def test_the_newest_frame_is_there_analysed_or_not() -> None:
    pictures = Pictures()
    pictures.put_analysed("gate", picture(1))
    pictures.put_newest("gate", picture(2))
    assert pictures.find("gate") == picture(2)
    assert pictures.find("gate", "f-1") == picture(1)
    assert pictures.find("gate", "f-2") is None
    assert pictures.find("yard") is None


def test_the_last_few_analysed_frames_are_kept() -> None:
    pictures = Pictures()
    for number in range(room.KEPT + 3):
        pictures.put_analysed("gate", picture(number))
        pictures.put_analysed("gate", picture(number))  # the answer of a second pipeline
    kept = [number for number in range(room.KEPT + 3) if pictures.find("gate", f"f-{number}")]
    assert kept == list(range(3, room.KEPT + 3))


def test_when_there_are_too_many_the_longest_silent_camera_loses_its_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_KEPT", 50)
    pictures = Pictures()
    pictures.put_analysed("gate", picture(1))
    pictures.put_analysed("gate", picture(2))
    for number in range(4):
        pictures.put_analysed("yard", picture(number))
    assert pictures.find("gate", "f-1") is None
    assert pictures.find("gate", "f-2")
    assert all(pictures.find("yard", f"f-{number}") for number in range(4))


STEPS = st.lists(st.tuples(st.sampled_from("nafx"), st.sampled_from("abc"), st.integers(0, 40)), max_size=80)


@given(STEPS)
def test_the_bytes_are_counted_rightly_and_stay_within_the_bound(steps: list[tuple[str, str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "MAX_KEPT", 100)
        pictures = Pictures()
        for number, (step, camera, size) in enumerate(steps):
            if step == "f":
                pictures.forget(camera)
            elif step == "n":
                pictures.put_newest(camera, picture(number, size))
            else:
                pictures.put_analysed(camera, picture(number, size))
            shelves = pictures._shelves.values()
            held = sum(len(it.data) for shelf in shelves for it in (*shelf.analysed, shelf.newest) if it)
            assert held == pictures._bytes <= 100
