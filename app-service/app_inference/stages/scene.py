"""The stage that tracks objects, and reports when they enter, stay in and leave zones and cross lines. Pure.

The point of an object is the middle of its lower edge, in parts of the picture (0..1). Events of zones have a delay
each way, so that an object that trembles on an edge counts once; the occupancy of a zone is the plain number of
confirmed tracks inside it, without delay. docs/reference/scenes.md says how well this counts.
"""

import math
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import msgspec
from edgex_kit.wire.errors import Invalid

from app_inference.stages.stage import DetectedObject, Frame, SceneCount, SceneEvent
from app_inference.stages.tracker import Track, Tracked, Tracker
from app_inference.stages.zones import Zone
from app_inference.vision.image import Image, Size

Point = tuple[float, float]
COUNTS_EVERY = 60.0  # seconds between two reports of counts that do not change
SILENCE = 1.0  # seconds beyond a track's time without any frame, and the camera counts as gone


@dataclass(frozen=True, slots=True)
class ZoneRule:
    """When an object counts as inside a zone."""

    zone: Zone
    labels: frozenset[str] = frozenset()  # empty: every label
    enter_s: float = 0.4  # inside this long before it has entered
    leave_s: float = 1.0  # outside this long before it has left
    margin: float = 0.01  # of the picture; only beyond it an object that entered is outside again
    dwell_s: float = 0.0  # a stay of this length is reported, once; 0: never


@dataclass(frozen=True, slots=True)
class LineRule:
    """A segment; `in` is from the left to the right of the arrow from `start` to `end`, as seen in the picture."""

    name: str
    start: Point
    end: Point
    labels: frozenset[str] = frozenset()  # empty: every label
    band: float = 0.01  # of the picture; a side counts only beyond this distance from the line

    def side(self, point: Point) -> int:
        """1 right of the arrow, -1 left of it; 0 within the band or beside the segment's ends."""
        (ax, ay), (bx, by), (x, y) = self.start, self.end, point
        length = math.hypot(bx - ax, by - ay)
        along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length**2
        across = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length  # y grows downwards: positive is to the right
        if not 0 <= along <= 1 or abs(across) <= self.band:
            return 0
        return 1 if across > 0 else -1


@dataclass(frozen=True, slots=True)
class SceneRules:
    """The zones and lines of one camera."""

    zones: tuple[ZoneRule, ...] = ()
    lines: tuple[LineRule, ...] = ()


def parse_line(name: str, text: str) -> tuple[Point, Point]:
    """The ends of a line out of "x1,y1,x2,y2". Raises Invalid, naming it."""
    try:
        ax, ay, bx, by = (float(item) for item in text.split(","))
    except ValueError as error:
        raise Invalid(f"line '{name}': expected x1,y1,x2,y2, got '{text[:80]}'") from error
    if not all(0 <= number <= 1 for number in (ax, ay, bx, by)):
        raise Invalid(f"line '{name}': its ends are parts of the picture, 0..1")
    if (ax, ay) == (bx, by):
        raise Invalid(f"line '{name}': both ends are the same point")
    return (ax, ay), (bx, by)


@dataclass(slots=True)
class _Stay:
    """One track and one zone."""

    inside_since: int | None = None
    outside_since: int | None = None
    entered_ns: int | None = None  # None: outside
    has_dwelt: bool = False


@dataclass(slots=True)
class _Seen:
    """What is remembered of one track."""

    box_norm: tuple[float, float, float, float] = (0, 0, 0, 0)
    stays: dict[str, _Stay] = field(default_factory=dict)
    sides: dict[str, int] = field(default_factory=dict)


class Scene:
    """The tracks of one camera among its zones and lines. Not thread-safe."""

    def __init__(self, pipeline: str, camera: str, keep_s: float) -> None:
        self.occupancy: dict[str, int] = {}
        self.crossings: dict[str, tuple[int, int]] = {}  # line -> in, out
        self._event = partial(SceneEvent, pipeline=pipeline, camera=camera)
        self._tracker = Tracker(camera, keep_s)
        self._size: Size = (1, 1)
        self._seen: dict[int, _Seen] = {}

    def update(
        self, rules: SceneRules, frame: Frame, size: Size, objects: tuple[DetectedObject, ...]
    ) -> tuple[tuple[DetectedObject, ...], list[SceneEvent]]:
        """The objects with their track's id and zones, and what they did. `size` is (width, height), pixels."""
        self._size = size
        tracked = self._tracker.update(objects, frame.capture_ns, frame.frame_id)
        events = [self._told("new", track, frame.capture_ns, frame.frame_id) for track in tracked.began]
        self.occupancy = {rule.zone.name: 0 for rule in rules.zones}
        named = []
        for it, track in zip(objects, tracked.of_object, strict=True):
            inside, done = self._followed(rules, track, it, frame) if track is not None else ((), [])
            named.append(msgspec.structs.replace(it, id=track.id, zones=(*it.zones, *inside)) if track else it)
            events += done
        events += self._over(tracked, frame.capture_ns)
        return tuple(named), events

    def end(self) -> list[SceneEvent]:
        """The camera is gone: its tracks leave every zone and end."""
        self.occupancy = dict.fromkeys(self.occupancy, 0)
        return [event for track in self._tracker.end_all() for event in self._ended(track, track.seen_ns)]

    def _over(self, tracked: Tracked, at_ns: int) -> Iterable[SceneEvent]:
        return [event for track in tracked.ended for event in self._ended(track, at_ns)]

    def _followed(
        self, rules: SceneRules, track: Track, found: DetectedObject, frame: Frame
    ) -> tuple[tuple[str, ...], list[SceneEvent]]:
        """The zones that one object is in, and what it did."""
        seen = self._seen.setdefault(track.id, _Seen())
        seen.box_norm = found.box_norm
        left, _, right, bottom = found.box_norm
        point = (left + right) / 2, bottom
        inside: list[str] = []
        events: list[SceneEvent] = []
        for rule in rules.zones:
            if not rule.labels or track.label in rule.labels:
                if rule.zone.holds(*point):
                    inside.append(rule.zone.name)
                    self.occupancy[rule.zone.name] += 1
                events += self._stayed(rule, seen, track, point, frame)
        for line in rules.lines:
            if not line.labels or track.label in line.labels:
                events += self._crossed(line, seen, track, point, frame)
        return tuple(inside), events

    def _stayed(self, rule: ZoneRule, seen: _Seen, track: Track, point: Point, frame: Frame) -> Iterable[SceneEvent]:
        name, now = rule.zone.name, frame.capture_ns
        stay = seen.stays.setdefault(name, _Stay())
        tell = partial(self._told, track=track, at_ns=now, frame_id=frame.frame_id, zone=name)
        if stay.entered_ns is None:
            stay.inside_since = _since(stay.inside_since, now, is_so=rule.zone.holds(*point))
            if stay.inside_since is not None and now - stay.inside_since >= rule.enter_s * 1e9:
                stay.entered_ns = stay.inside_since
                yield tell("enter")
        else:
            stay.outside_since = _since(stay.outside_since, now, is_so=rule.zone.distance(*point) < -rule.margin)
            if stay.outside_since is not None and now - stay.outside_since >= rule.leave_s * 1e9:
                seen.stays[name] = _Stay()
                yield tell("leave", dwell_seconds=_seconds(stay.outside_since - stay.entered_ns))
                return
        if stay.entered_ns is not None and rule.dwell_s and not stay.has_dwelt:
            lasted = _seconds(now - stay.entered_ns)
            if lasted >= rule.dwell_s:
                stay.has_dwelt = True
                yield tell("dwell", dwell_seconds=lasted)

    def _crossed(self, line: LineRule, seen: _Seen, track: Track, point: Point, frame: Frame) -> Iterable[SceneEvent]:
        side = line.side(point)
        before = seen.sides.get(line.name, side)
        if side:
            seen.sides[line.name] = side
        if not side or before == side:
            return
        into, out = self.crossings.get(line.name, (0, 0))
        self.crossings[line.name] = (into + 1, out) if side > 0 else (into, out + 1)
        direction = "in" if side > 0 else "out"
        yield self._told("cross", track, frame.capture_ns, frame.frame_id, line=line.name, direction=direction)

    def _ended(self, track: Track, at_ns: int) -> Iterable[SceneEvent]:
        seen = self._seen.get(track.id, _Seen())
        for name, stay in seen.stays.items():
            if stay.entered_ns is not None:
                lasted = _seconds(track.seen_ns - stay.entered_ns)
                yield self._told("leave", track, at_ns, track.frame_id, zone=name, dwell_seconds=lasted)
        width, height = self._size
        yield self._told(
            "end",
            track,
            at_ns,
            track.frame_id,
            start=str(track.start_ns),
            best_frame_id=track.best_frame_id,
            best_score=track.best_score,
            path=tuple((round(x / width, 4), round(y / height, 4)) for x, y in track.path),
        )
        self._seen.pop(track.id, None)

    def _told(self, kind: str, track: Track, at_ns: int, frame_id: str, **more: object) -> SceneEvent:
        (x1, y1, x2, y2), (width, height) = track.box, self._size
        return self._event(
            type=kind,
            frame_id=frame_id,
            capture_origin=str(at_ns),
            track_id=track.id,
            track_key=track.key,
            label=track.label,
            score=track.score,
            box_norm=(round(x1 / width, 5), round(y1 / height, 5), round(x2 / width, 5), round(y2 / height, 5)),
            **more,  # type: ignore[arg-type]
        )


class SceneStage:
    """Tracks the objects of each camera. Any thread may call.

    The rules of a camera are looked up for each frame, so that changed ones are in force at the next frame and stays
    in zones that did not change go on.
    """

    def __init__(self, pipeline: str, keep_s: float, rules: Mapping[str, SceneRules]) -> None:
        """Tracks end `keep_s` seconds after they were last seen; `rules` of a camera may be replaced at any time."""
        self.rules = rules
        self._pipeline = pipeline
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._scenes: dict[str, Scene] = {}
        self._touched: dict[str, float] = {}  # camera -> when its last frame came, monotonic clock
        self._since: dict[str, int] = {}  # camera -> when counting began, UNIX ns
        self._events: list[SceneEvent] = []
        self._counts: dict[tuple[str, str], tuple[float, SceneCount]] = {}  # what was last reported, and when

    def process(self, frame: Frame, image: Image, objects: tuple[DetectedObject, ...]) -> tuple[DetectedObject, ...]:
        rules = self.rules.get(frame.camera, SceneRules())
        with self._lock:
            scene = self._scenes.get(frame.camera)
            if scene is None:
                scene = self._scenes[frame.camera] = Scene(self._pipeline, frame.camera, self._keep_s)
                self._since[frame.camera] = frame.capture_ns
            self._touched[frame.camera] = time.monotonic()
            named, events = scene.update(rules, frame, (image.width, image.height), objects)
            self._events += events
        return named

    def forget(self, cameras: Collection[str]) -> None:
        with self._lock:
            for camera in cameras:
                if (scene := self._scenes.pop(camera, None)) is not None:
                    self._events += scene.end()
                    del self._touched[camera], self._since[camera]
            for key in [key for key in self._counts if key[0] in cameras]:
                del self._counts[key]

    def end(self) -> None:
        """The pipeline is gone: what is tracked ends."""
        self.forget(list(self._scenes))

    def take(self, now_s: float) -> tuple[list[SceneEvent], list[SceneCount]]:
        """The events since the last call; the counts that changed or were not reported for a minute.

        The tracks of a camera without frames end here.
        """
        with self._lock:
            for camera, touched in self._touched.items():
                if now_s - touched > self._keep_s + SILENCE:
                    self._events += self._scenes[camera].end()
            counts = [count for camera in self._scenes for count in self._new_counts(camera, now_s)]
            events, self._events = self._events, []
        return events, counts

    def _new_counts(self, camera: str, now_s: float) -> Iterable[SceneCount]:
        for count in self._counted(camera):
            reported_s, last = self._counts.get((camera, count.source), (-COUNTS_EVERY, None))
            if count != last or now_s - reported_s >= COUNTS_EVERY:
                self._counts[camera, count.source] = now_s, count
                yield count

    def _counted(self, camera: str) -> Iterable[SceneCount]:
        scene, rules = self._scenes[camera], self.rules.get(camera, SceneRules())
        count = partial(SceneCount, self._pipeline, camera, since=str(self._since[camera]))
        for rule in rules.zones:
            yield count(rule.zone.name, occupancy=scene.occupancy.get(rule.zone.name, 0))
        for line in rules.lines:
            into, out = scene.crossings.get(line.name, (0, 0))
            yield count(line.name, count_in=into, count_out=out)


def _since(before: int | None, now: int, *, is_so: bool) -> int | None:
    """Since when something is so; None when it is not."""
    if not is_so:
        return None
    return now if before is None else before


def _seconds(ns: int) -> float:
    return round(ns / 1e9, 3)
