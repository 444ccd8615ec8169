"""app_inference.stages.tracker: the same object keeps its id."""

import numpy as np
import pytest
from app_inference.stages.stage import DetectedObject
from app_inference.stages.tracker import MAX_PATH, Tracked, Tracker

MS = 1_000_000


def found(*rows: tuple[float, float, float, float, float, int]) -> tuple[DetectedObject, ...]:
    """Objects from (x1, y1, x2, y2, score, class)."""
    return tuple(
        DetectedObject(str(kind), kind, score, (x1, y1, x2, y2), (0, 0, 0, 0), ())
        for x1, y1, x2, y2, score, kind in rows
    )


def walker(
    x: float, y: float = 100, score: float = 0.9, kind: int = 0
) -> tuple[float, float, float, float, float, int]:
    return x, y, x + 40, y + 80, score, kind


def ids(tracked: Tracked) -> list[int | None]:
    return [track.id if track is not None else None for track in tracked.of_object]


def test_a_track_is_confirmed_at_its_second_sight_and_keeps_its_id() -> None:
    tracker = Tracker("door")
    first = tracker.update(found(walker(0)), 0, "f0")
    assert (ids(first), first.began) == ([None], ())
    second = tracker.update(found(walker(8)), 200 * MS, "f1")
    assert ids(second) == [1]
    assert [track.key for track in second.began] == ["door-0-1"]
    for step in range(2, 10):
        again = tracker.update(found(walker(8 * step)), step * 200 * MS, f"f{step}")
        assert (ids(again), again.began) == ([1], ())


def test_two_that_pass_each_other_keep_their_ids() -> None:
    tracker = Tracker("door")
    for step in range(21):
        now = tracker.update(found(walker(20 * step), walker(400 - 20 * step, 130)), step * 200 * MS, str(step))
    assert ids(now) == [1, 2]


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_a_fast_object_is_found_again_after_frames_that_were_not_analysed(gap: int) -> None:
    tracker = Tracker("door")
    for step in range(4):
        tracker.update(found(walker(20 * step)), step * 200 * MS, str(step))
    later = 3 + gap
    assert ids(tracker.update(found(walker(20 * later)), later * 200 * MS, "later")) == [1]


def test_an_unsure_detection_continues_a_recent_track_and_begins_none() -> None:
    tracker = Tracker("door")
    tracker.update(found(walker(0)), 0, "0")
    tracker.update(found(walker(2)), 200 * MS, "1")
    assert ids(tracker.update(found(walker(4, score=0.2), walker(300, score=0.2)), 400 * MS, "2")) == [1, None]
    assert len(tracker.end_all()) == 1


def test_labels_must_agree() -> None:
    tracker = Tracker("door")
    tracker.update(found(walker(0)), 0, "0")
    tracker.update(found(walker(0)), 200 * MS, "1")
    assert ids(tracker.update(found(walker(0, kind=1)), 400 * MS, "2")) == [None]


def test_a_track_ends_once_after_its_time_and_an_unconfirmed_one_is_never_told() -> None:
    tracker = Tracker("door", keep_s=1.0)
    tracker.update(found(walker(0), walker(500)), 0, "0")
    tracker.update(found(walker(0)), 200 * MS, "1")
    assert tracker.update(found(), 1200 * MS, "2").ended == ()
    over = tracker.update(found(), 1300 * MS, "3")
    assert [track.id for track in over.ended] == [1]
    assert over.live == ()
    assert tracker.update(found(), 1500 * MS, "4").ended == ()


def test_a_frame_older_than_the_last_changes_nothing() -> None:
    tracker = Tracker("door")
    for step in range(3):
        tracker.update(found(walker(0)), step * 200 * MS, str(step))
    late = tracker.update(found(walker(0)), 100 * MS, "late")
    assert (ids(late), late.ended, len(late.live)) == ([None], (), 1)
    assert ids(tracker.update(found(walker(0)), 800 * MS, "next")) == [1]


def test_the_path_spans_the_life_in_few_points() -> None:
    tracker = Tracker("door")
    for step in range(200):
        now = tracker.update(found(walker(5 * step)), step * 200 * MS, str(step))
    path = now.live[0].path
    assert len(path) <= MAX_PATH
    assert path[0] == (20.0, 140.0)
    assert path[-1][0] == pytest.approx(5 * 199 + 20, abs=3)


def test_the_best_sight_is_remembered_with_its_frame() -> None:
    tracker = Tracker("door")
    for step, score in enumerate((0.6, 0.95, 0.7)):
        now = tracker.update(found(walker(0, score=score)), step * 200 * MS, f"f{step}")
    assert (now.live[0].best_frame_id, round(now.live[0].best_score, 2)) == ("f1", 0.95)


def test_a_third_of_the_frames_lost_at_random_makes_no_new_ids() -> None:
    rng = np.random.default_rng(5)
    tracker, begun = Tracker("door"), 0
    for step in range(150):
        if rng.random() < 0.3:
            continue
        boxes = [walker(4 * step + rng.normal(0, 2), 20 + 150 * lane + rng.normal(0, 2)) for lane in range(4)]
        begun += len(tracker.update(found(*boxes), step * 200 * MS, str(step)).began)
    assert begun == 4
