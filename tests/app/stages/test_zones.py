"""Zones are polygons in parts of the picture."""

import pytest
from app_inference.stages.zones import parse_zone
from edgex_kit.wire.errors import Invalid

HALF = "0,0, 0.5,0, 0.5,1, 0,1"


@pytest.mark.parametrize(("x", "y", "is_in"), [(0.25, 0.5, True), (0.5, 0.5, True), (0.51, 0.5, False), (0, 1, True)])
def test_a_point_is_in_a_zone_or_on_its_edge_or_not(x: float, y: float, is_in: bool) -> None:
    assert parse_zone("left", HALF).holds(x, y) is is_in


def test_a_zone_may_have_a_bay() -> None:
    zone = parse_zone("horseshoe", "0,0, 1,0, 1,1, 0.6,1, 0.6,0.4, 0.4,0.4, 0.4,1, 0,1")
    assert zone.holds(0.2, 0.9)
    assert not zone.holds(0.5, 0.9)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds something that is no number"),
        ("0,0,1,x", "holds something that is no number"),
        ("0,0,1,1", "three or more corners as x,y pairs, got 4 numbers"),
        ("0,0,1,0,1,1,0", "got 7 numbers"),
        ("0,0,1,0,1,1.01", "corners are parts of the picture"),
        ("0,0,1,0,1,nan", "corners are parts of the picture"),
    ],
)
def test_a_zone_that_is_no_polygon_is_named(text: str, complaint: str) -> None:
    with pytest.raises(Invalid, match=f"zone 'yard': .*{complaint}"):
        parse_zone("yard", text)
