"""Follows the objects of one camera from frame to frame: an object keeps one id for as long as it is seen. Pure.

Two rounds as in ByteTrack (Zhang et al., ECCV 2022, section 3): sure detections are assigned first; unsure
ones continue tracks seen a moment ago and never begin one. Assignment is greedy, best pair first. Speeds are in pixels
per second of capture time, so that frames that were dropped or not analysed do no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app_inference.stages.stage import DetectedObject

Box = tuple[float, float, float, float]  # xyxy, pixels
Boxes = NDArray[np.float64]  # (n, 4) xyxy, pixels

SURE = 0.5  # detections of this score and more are assigned first
UNSURE = 0.1  # below this a detection takes no part
NEW_FROM = 0.55  # a detection of this score that continues no track begins one
RECENT_NS = 750_000_000  # unsure detections continue tracks seen within this
MIN_AFFINITY = (0.2, 0.3)  # first and second round
GROWTH_PER_S = 0.3  # both boxes are enlarged by this part of their size for each second since the last sight
GROWTH_MAX = 0.6
SPEED_WEIGHT = 0.4  # of a new speed against the one so far
BOX_WEIGHT = 0.7  # of the detected box against the predicted one
CONFIRMED_AFTER = 2  # sights
DEFAULT_KEEP_S = 1.0


@dataclass(slots=True, eq=False)
class Track:
    """One object of one camera, from its first sight to its end."""

    id: int
    key: str  # unique over restarts: <camera>-<start, ns>-<id>
    label: str
    label_id: int
    box: Box  # smoothed
    score: float
    start_ns: int  # capture time of the first sight
    seen_ns: int  # of the last one
    frame_id: str
    sights: int = 1
    speed: tuple[float, float] | None = None  # of the centre, pixels per second; None before the second sight
    best_score: float = 0.0
    best_frame_id: str = ""
    path: list[tuple[float, float]] = field(default_factory=list)  # centres, thinned to MAX_PATH points

    @property
    def is_confirmed(self) -> bool:
        return self.sights >= CONFIRMED_AFTER

    def predicted(self, at_ns: int) -> Box:
        """Where the box is at `at_ns`, were its speed constant."""
        if self.speed is None:
            return self.box
        seconds = (at_ns - self.seen_ns) / 1e9
        dx, dy = self.speed[0] * seconds, self.speed[1] * seconds
        return self.box[0] + dx, self.box[1] + dy, self.box[2] + dx, self.box[3] + dy


MAX_PATH = 16


@dataclass(frozen=True, slots=True)
class Tracked:
    """What one frame did to the tracks of its camera."""

    of_object: tuple[Track | None, ...]  # for each object of the frame: its confirmed track
    began: tuple[Track, ...]  # confirmed by this frame
    ended: tuple[Track, ...]  # confirmed ones whose last sight is too long ago
    live: tuple[Track, ...]  # all confirmed ones


class Tracker:
    """The tracks of one camera. Not thread-safe: the frames of a camera are analysed one after another."""

    def __init__(self, camera: str, keep_s: float = DEFAULT_KEEP_S) -> None:
        self._camera = camera
        self._keep_ns = round(keep_s * 1e9)
        self._tracks: list[Track] = []
        self._last_id = 0
        self._now_ns = -1

    def update(self, objects: Sequence[DetectedObject], at_ns: int, frame_id: str) -> Tracked:
        """Assign the objects of a frame captured at `at_ns` (UNIX time, ns) to tracks.

        A frame that is not newer than the last one changes nothing: its objects get no track.
        """
        if at_ns <= self._now_ns:
            return Tracked((None,) * len(objects), (), (), self._confirmed())
        self._now_ns = at_ns
        ended = self._end(at_ns)
        boxes = np.array([it.box for it in objects], np.float64).reshape(-1, 4)
        scores = np.array([it.score for it in objects], np.float64)
        label_ids = np.array([it.label_id for it in objects], np.int64)
        of_object: list[Track | None] = [None] * len(objects)
        unconfirmed = [track for track in self._tracks if not track.is_confirmed]
        sure = np.flatnonzero(scores >= SURE)
        unsure = np.flatnonzero((scores >= UNSURE) & (scores < SURE))
        left = self._tracks  # those that no detection of this frame continues yet
        for rows, least, within_ns in ((sure, MIN_AFFINITY[0], self._keep_ns), (unsure, MIN_AFFINITY[1], RECENT_NS)):
            tracks = [track for track in left if at_ns - track.seen_ns <= within_ns]
            for index, row in _assigned(tracks, boxes[rows], scores[rows], label_ids[rows], at_ns, least):
                at = int(rows[row])
                self._see(tracks[index], objects[at].box, objects[at].score, at_ns, frame_id)
                of_object[at] = tracks[index]
            left = [track for track in left if track.seen_ns != at_ns]
        for at in sure.tolist():
            if of_object[at] is None and scores[at] >= NEW_FROM:
                of_object[at] = self._begin(objects[at], at_ns, frame_id)
        live = self._confirmed()
        shown = tuple(track if track is not None and track.is_confirmed else None for track in of_object)
        return Tracked(shown, tuple(track for track in unconfirmed if track.is_confirmed), ended, live)

    def end_all(self) -> tuple[Track, ...]:
        """The camera is gone: every confirmed track ends."""
        ended, self._tracks = self._confirmed(), []
        return ended

    def _confirmed(self) -> tuple[Track, ...]:
        return tuple(track for track in self._tracks if track.is_confirmed)

    def _end(self, at_ns: int) -> tuple[Track, ...]:
        over = [track for track in self._tracks if at_ns - track.seen_ns > self._keep_ns]
        self._tracks = [track for track in self._tracks if at_ns - track.seen_ns <= self._keep_ns]
        return tuple(track for track in over if track.is_confirmed)

    def _begin(self, found: DetectedObject, at_ns: int, frame_id: str) -> Track:
        self._last_id += 1
        key = f"{self._camera}-{at_ns}-{self._last_id}"
        track = Track(self._last_id, key, found.label, found.label_id, found.box, found.score, at_ns, at_ns, frame_id)
        track.best_score, track.best_frame_id, track.path = found.score, frame_id, [_centre(found.box)]
        self._tracks.append(track)
        return track

    @staticmethod
    def _see(track: Track, box: Box, score: float, at_ns: int, frame_id: str) -> None:
        seconds = (at_ns - track.seen_ns) / 1e9
        x1, y1, x2, y2 = (
            BOX_WEIGHT * a + (1 - BOX_WEIGHT) * b for a, b in zip(box, track.predicted(at_ns), strict=True)
        )
        if seconds > 0:
            (x, y), (old_x, old_y) = _centre(box), _centre(track.box)
            vx, vy = (x - old_x) / seconds, (y - old_y) / seconds
            if track.speed is not None:
                vx = SPEED_WEIGHT * vx + (1 - SPEED_WEIGHT) * track.speed[0]
                vy = SPEED_WEIGHT * vy + (1 - SPEED_WEIGHT) * track.speed[1]
            track.speed = vx, vy
        track.box, track.score, track.seen_ns, track.frame_id = (x1, y1, x2, y2), score, at_ns, frame_id
        track.sights += 1
        if score > track.best_score:
            track.best_score, track.best_frame_id = score, frame_id
        track.path.append(_centre(track.box))
        if len(track.path) > MAX_PATH:  # every second point goes, so that the path still spans the whole life
            track.path = [*track.path[:-1:2], track.path[-1]]


def _assigned(
    tracks: Sequence[Track], boxes: Boxes, scores: NDArray[np.float64], label_ids: NDArray[np.int64], at_ns: int,
    least: float,
) -> list[tuple[int, int]]:  # fmt: skip
    """Pairs (track, row), best affinity first, each of both at most once and none below `least`."""
    if not tracks or not len(boxes):
        return []
    gaps = np.array([(at_ns - track.seen_ns) / 1e9 for track in tracks])
    rates = np.array([GROWTH_PER_S if track.speed is not None else 2 * GROWTH_PER_S for track in tracks])
    growth = np.minimum(rates * gaps, GROWTH_MAX)
    where = np.array([track.predicted(at_ns) for track in tracks])
    affinity = _overlap(_enlarged(where, growth)[:, None], _enlarged(boxes[None], growth[:, None]))
    affinity *= 0.7 + 0.3 * scores[None]
    affinity[np.array([track.label_id for track in tracks])[:, None] != label_ids[None]] = 0
    pairs: list[tuple[int, int]] = []
    used_tracks: set[int] = set()
    used_rows: set[int] = set()
    track_at, row_at = np.nonzero(affinity >= least)
    for index in np.argsort(-affinity[track_at, row_at], kind="stable"):
        track, row = int(track_at[index]), int(row_at[index])
        if track not in used_tracks and row not in used_rows:
            used_tracks.add(track)
            used_rows.add(row)
            pairs.append((track, row))
    return pairs


def _enlarged(boxes: Boxes, growth: NDArray[np.float64]) -> Boxes:
    """Boxes whose sides are longer by the part `growth`; their centres stay."""
    half = (boxes[..., 2:] - boxes[..., :2]) * (growth[..., None] / 2)
    return np.concatenate((boxes[..., :2] - half, boxes[..., 2:] + half), -1)


def _overlap(one: Boxes, other: Boxes) -> NDArray[np.float64]:
    """Intersection over union; (n, 1, 4) against (n, m, 4) gives (n, m)."""
    corner = np.maximum(one[..., :2], other[..., :2])
    sides = np.clip(np.minimum(one[..., 2:], other[..., 2:]) - corner, 0, None)
    common = sides[..., 0] * sides[..., 1]
    area = (one[..., 2] - one[..., 0]) * (one[..., 3] - one[..., 1])
    other_area = (other[..., 2] - other[..., 0]) * (other[..., 3] - other[..., 1])
    return np.asarray(common / np.maximum(area + other_area - common, 1e-9), np.float64)


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
