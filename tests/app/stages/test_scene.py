"""app_inference.stages.scene: zones are entered and left, lines are crossed, each once."""

from dataclasses import dataclass

import numpy as np
import pytest
from app_inference.settings import PipelineSection, SceneSection
from app_inference.stages.scene import LineRule, SceneRules, SceneStage, ZoneRule
from app_inference.stages.stage import DetectedObject, SceneEvent
from app_inference.stages.zones import parse_zone
from app_inference.vision.image import Image
from edgex_kit.config.layers import Tree
from edgex_kit.wire.errors import Invalid
from msgspec import convert

BAY = parse_zone("bay", "0.4,0,0.6,0,0.6,1,0.4,1")
DOOR = LineRule("door", (0.5, 0.2), (0.5, 0.9))  # the arrow points down: its right is the left of the picture
PERIOD_NS = 200_000_000  # 5 frames a second
PICTURE = Image(np.zeros((1000, 1000, 3), np.uint8), 1000, 1000)
PASSAGE = [0.1 + 0.02 * step for step in range(40)]  # from left to right through the bay


@dataclass(frozen=True)
class Taken:
    """What a stage knows of a frame."""

    camera: str
    frame_id: str
    capture_ns: int


def person(x: float, y: float = 0.5, label: str = "person") -> DetectedObject:
    """An object of 80x160 pixels whose foot is at (x, y)."""
    box = x * 1000 - 40, y * 1000 - 160, x * 1000 + 40, y * 1000
    norm = box[0] / 1000, box[1] / 1000, box[2] / 1000, box[3] / 1000
    return DetectedObject(label, 0, 0.9, box, norm, ())


def stage_of(*rules: ZoneRule | LineRule) -> SceneStage:
    zones = tuple(rule for rule in rules if isinstance(rule, ZoneRule))
    lines = tuple(rule for rule in rules if isinstance(rule, LineRule))
    return SceneStage("default", 1.0, {"yard": SceneRules(zones, lines)})


def show(stage: SceneStage, step: int, *objects: DetectedObject) -> tuple[DetectedObject, ...]:
    return stage.process(Taken("yard", f"f{step}", step * PERIOD_NS), PICTURE, objects)


def walk(stage: SceneStage, xs: list[float], y: float = 0.5, label: str = "person") -> list[SceneEvent]:
    """One object whose foot is at each of `xs` in turn; then frames without it for two seconds."""
    for step, x in enumerate(xs):
        show(stage, step, person(x, y, label))
    for step in range(len(xs), len(xs) + 10):
        show(stage, step)
    return stage.take(0)[0]


def kinds(events: list[SceneEvent]) -> list[str]:
    return [event.type for event in events]


def test_objects_get_the_id_of_their_track_and_their_zones() -> None:
    stage = stage_of(ZoneRule(BAY))
    assert show(stage, 0, person(0.5))[0].id is None
    named = show(stage, 1, person(0.5), person(0.1))
    assert [(it.id, it.zones) for it in named] == [(1, ("bay",)), (None, ())]


def test_a_passage_is_new_enter_leave_end() -> None:
    told = walk(stage_of(ZoneRule(BAY)), PASSAGE)
    assert kinds(told) == ["new", "enter", "leave", "end"]
    assert told[2].dwell_seconds == pytest.approx(10 * 0.2, abs=0.5)
    assert (told[3].start, len(told[3].path) > 4, told[3].best_frame_id) == ("0", True, "f0")


def test_occupancy_has_no_delay_and_is_reported_when_it_changes() -> None:
    stage = stage_of(ZoneRule(BAY, enter_s=60))
    show(stage, 0, person(0.5))
    show(stage, 1, person(0.5))
    assert [(it.source, it.occupancy) for it in stage.take(0)[1]] == [("bay", 1)]
    show(stage, 2, person(0.5))
    assert stage.take(1)[1] == []
    assert len(stage.take(61)[1]) == 1  # as nothing changed, a minute later
    show(stage, 3)
    assert [it.occupancy for it in stage.take(62)[1]] == [0]


def test_a_stay_is_reported_once_when_it_is_long_enough() -> None:
    told = walk(stage_of(ZoneRule(BAY, dwell_s=3)), [0.5] * 40)
    assert kinds(told) == ["new", "enter", "dwell", "leave", "end"]
    assert told[2].dwell_seconds == pytest.approx(3, abs=0.25)


def test_an_object_that_trembles_on_the_edge_enters_once() -> None:
    trembling = [0.3 + 0.02 * step for step in range(6)] + [0.4 + 0.008 * (-1) ** step for step in range(40)]
    assert kinds(walk(stage_of(ZoneRule(BAY, enter_s=0)), trembling)).count("enter") == 1


@pytest.mark.parametrize(("xs", "direction"), [(PASSAGE, "out"), (PASSAGE[::-1], "in")])
def test_a_crossing_has_a_direction_and_is_counted_once(xs: list[float], direction: str) -> None:
    stage = stage_of(DOOR)
    for step, x in enumerate(xs):
        show(stage, step, person(x))
    events, counts = stage.take(0)
    assert [event.direction for event in events if event.type == "cross"] == [direction]
    assert [(it.count_in, it.count_out) for it in counts] == [(1, 0) if direction == "in" else (0, 1)]


def test_an_object_that_trembles_on_a_line_counts_at_most_once() -> None:
    xs = [0.3 + 0.02 * step for step in range(10)] + [0.5 + 0.009 * (-1) ** step for step in range(40)]
    assert kinds(walk(stage_of(DOOR), xs)).count("cross") <= 1


def test_beside_the_segment_is_no_crossing() -> None:
    assert "cross" not in kinds(walk(stage_of(DOOR), PASSAGE, y=0.15))


def test_labels_limit_zones_and_lines() -> None:
    wanted = frozenset({"person"})
    stage = stage_of(ZoneRule(BAY, wanted), LineRule("door", (0.5, 0.2), (0.5, 0.9), wanted))
    assert kinds(walk(stage, PASSAGE, label="car")) == ["new", "end"]


def test_tracks_end_when_frames_stop_coming_and_when_the_camera_is_deleted() -> None:
    for end in (lambda stage: stage.forget({"yard"}), lambda stage: None):
        stage = stage_of(ZoneRule(BAY, enter_s=0))
        for step in range(3):
            show(stage, step, person(0.5))
        assert kinds(stage.take(0)[0]) == ["new", "enter"]
        end(stage)
        assert kinds(stage.take(float("inf"))[0]) == ["leave", "end"]
        assert stage.take(float("inf"))[0] == []


def test_new_rules_are_in_force_at_the_next_frame_and_other_stays_go_on() -> None:
    stage = stage_of(ZoneRule(BAY, enter_s=0))
    show(stage, 0, person(0.5))
    show(stage, 1, person(0.5))
    wide = ZoneRule(parse_zone("wide", "0,0,1,0,1,1,0,1"), enter_s=0)
    stage.rules = {"yard": SceneRules((ZoneRule(BAY, enter_s=0), wide))}
    assert show(stage, 2, person(0.5))[0].zones == ("bay", "wide")
    assert [(it.type, it.zone) for it in stage.take(0)[0]] == [("new", ""), ("enter", "bay"), ("enter", "wide")]


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"zones": {"bay": "0,0,1,0"}}, "bay"),
        ({"zones": {"bay": "0,0,1,0,1,2"}}, "bay"),
        ({"zones": {"bay": "0,0,1,1,1,0,0,1"}}, "bay"),  # crosses itself
        ({"zone_rules": {"bay": {}}}, "ZoneRules.bay"),
        ({"zones": {"bay": "0,0,1,0,1,1"}, "zone_rules": {"bay": {"enter": "soon"}}}, "ZoneRules.bay.Enter"),
        ({"zones": {"bay": "0,0,1,0,1,1"}, "zone_rules": {"bay": {"margin": 2}}}, "ZoneRules.bay.Margin"),
        ({"lines": {"door": "0,0,1"}}, "door"),
        ({"lines": {"door": "0,0,0,0"}}, "door"),
        ({"lines": {"door": "0,0,1,0"}, "line_rules": {"gate": {}}}, "LineRules.gate"),
    ],
)
def test_rules_that_cannot_be_are_refused_by_name(tree: Tree, key: str) -> None:
    scene = convert(_camel(tree), SceneSection)
    with pytest.raises(Invalid, match=key):
        scene.rules("Writable.Scenes.yard")


def test_a_pipeline_has_one_tracker_of_a_known_kind() -> None:
    tracker = {"Kind": "tracker"}
    for stages in ({"a": tracker, "b": tracker}, {"a": {"Kind": "blur"}}, {"a": {"Kind": "tracker", "Keep": "0s"}}):
        section = convert({"Model": "m", "Stages": stages}, PipelineSection)
        with pytest.raises(Invalid, match="Stages"):
            section.open_stages("default", {})


def _camel(tree: Tree) -> Tree:
    """Keys as they are in the configuration, where names of zones and lines stay as they are."""
    names = {"zones": "Zones", "zone_rules": "ZoneRules", "lines": "Lines", "line_rules": "LineRules"}
    rules = {"enter": "Enter", "margin": "Margin"}
    return {
        names[key]: {
            name: value if isinstance(value, str) else {rules[it]: one for it, one in value.items()}
            for name, value in part.items()
        }
        for key, part in tree.items()
    }
