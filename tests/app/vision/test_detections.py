"""The sifting of boxes."""

import numpy as np
import pytest
from app_inference.decoders import DecodeOptions
from app_inference.decoders.steps import select
from app_inference.vision.detections import Candidates, Detections, sift, suppress
from app_inference.vision.resize import Fit

FIT = Fit((100, 100), (100, 100), (1.0, 1.0))


def candidates(*rows: tuple[float, float, float, float, float, int]) -> Candidates:
    """x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Candidates(table[:, :4], table[:, 4], table[:, 5].astype(np.int32))


def test_the_best_come_first() -> None:
    found = candidates((0, 0, 10, 10, 0.3, 0), (20, 20, 30, 30, 0.9, 0), (40, 40, 50, 50, 0.6, 0))
    assert sift(found, 10).tolist() == [1, 2, 0]
    assert sift(found, 2).tolist() == [1, 2]


@pytest.mark.parametrize(
    "row",
    [
        (np.nan, 0, 10, 10, 0.9, 0),
        (0, 0, np.inf, 10, 0.9, 0),
        (0, 0, 10, 10, np.nan, 0),
        (0, 0, 10, 10, np.inf, 0),
        (10, 0, 10, 10, 0.9, 0),
        (0, 10, 10, 0, 0.9, 0),
        (0, 0, 10, 10, 0.9, -1),
    ],
    ids=["nan side", "infinite side", "nan score", "infinite score", "no width", "upside down", "no class"],
)
def test_what_is_no_box_is_left_out(row: tuple[float, float, float, float, float, int]) -> None:
    found, rows = select(candidates(row, (5, 5, 9, 9, 0.5, 2)), FIT, DecodeOptions(), nms=True)
    assert found.class_ids.tolist() == [2]
    assert rows.tolist() == [1]


def test_overlap_is_suppressed_within_a_class() -> None:
    found = candidates((0, 0, 10, 10, 0.8, 0), (0, 0, 10, 9, 0.9, 0), (0, 0, 10, 10, 0.7, 1))
    assert suppress(found, sift(found, 10), 0.5, agnostic=False).tolist() == [1, 2]
    assert suppress(found, sift(found, 10), 0.5, agnostic=True).tolist() == [1]


def test_overlap_up_to_the_limit_stays() -> None:
    found = candidates((0, 0, 10, 10, 0.9, 0), (0, 5, 10, 15, 0.8, 0))  # they share a third
    assert len(suppress(found, sift(found, 10), 0.34, agnostic=False)) == 2
    assert len(suppress(found, sift(found, 10), 0.32, agnostic=False)) == 1


def test_suppression_agrees_with_the_definition() -> None:
    random = np.random.default_rng(3)
    corner = random.uniform(0, 90, (200, 2))
    boxes = np.concatenate((corner, corner + random.uniform(5, 40, (200, 2))), 1).astype(np.float32)
    found = Candidates(boxes, random.uniform(0, 1, 200).astype(np.float32), random.integers(0, 3, 200).astype(np.int32))
    kept = suppress(found, sift(found, 1000), 0.45, agnostic=False).tolist()
    assert kept == by_definition(found, 0.45)


def by_definition(found: Candidates, limit: float) -> list[int]:
    kept: list[int] = []
    for row in np.argsort(-found.scores).tolist():
        rivals = [other for other in kept if found.class_ids[other] == found.class_ids[row]]
        if all(overlap(found.boxes[row], found.boxes[other]) <= limit for other in rivals):
            kept.append(row)
    return kept


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def test_nothing_found_is_an_empty_result() -> None:
    found, rows = select(candidates(), FIT, DecodeOptions(), nms=True)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert len(rows) == 0


def test_a_box_outside_the_picture_is_left_out_and_one_across_its_edge_is_cut() -> None:
    found, _ = select(
        candidates((200, 200, 300, 300, 0.9, 0), (90, 90, 150, 150, 0.8, 1)), FIT, DecodeOptions(), nms=False
    )
    assert found.boxes.tolist() == [[90, 90, 100, 100]]


def test_no_more_than_the_limit_are_told() -> None:
    many = candidates(*((i * 10, 0, i * 10 + 5, 5, 0.5 + i / 100, 0) for i in range(9)))
    found, _ = select(many, FIT, DecodeOptions(max_detections=4), nms=True)
    assert len(found) == 4
    assert found.scores[0] == pytest.approx(0.58)


def test_noise_all_over_the_picture_is_bounded() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 90, (20000, 2)).astype(np.float32)
    noise = Candidates(
        np.concatenate((corner, corner + 3), 1),
        random.uniform(0.5, 1, 20000).astype(np.float32),
        np.zeros(20000, np.int32),
    )
    found, _ = select(noise, FIT, DecodeOptions(), nms=True)
    assert 0 < len(found) <= 300


def test_results_have_their_types() -> None:
    found, _ = select(candidates((1, 1, 5, 5, 0.9, 3)), FIT, DecodeOptions(), nms=True)
    assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int32)
    empty = Detections.empty()
    assert (empty.boxes.shape, len(empty.above(0.1))) == ((0, 4), 0)


def test_a_higher_confidence_keeps_the_better() -> None:
    found, _ = select(candidates((1, 1, 5, 5, 0.9, 3), (50, 50, 60, 60, 0.6, 1)), FIT, DecodeOptions(), nms=True)
    assert found.above(0.7).class_ids.tolist() == [3]
