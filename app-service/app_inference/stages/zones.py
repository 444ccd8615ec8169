"""The stage that names the zones in which each object stands: parts of the picture drawn as polygons."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from edgex_kit.wire.errors import Invalid
from numpy.typing import NDArray

from app_inference.stages.stage import DetectedObject, Frame
from app_inference.vision.image import Image

MAX_CORNERS = 32


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon in parts of the picture, so that it fits any size of it."""

    name: str
    corners: NDArray[np.float32]  # (n, 2) xy, 0..1

    def distance(self, x: float, y: float) -> float:
        """How far a point (0..1) lies inside it; negative outside. In parts of the picture."""
        return float(cv2.pointPolygonTest(self.corners, (x, y), measureDist=True))

    def holds(self, x: float, y: float) -> bool:
        """Whether a point (0..1) lies in it or on its edge."""
        return bool(cv2.pointPolygonTest(self.corners, (x, y), measureDist=False) >= 0)


class ZoneStage:
    """Fills in `zones` by the middle of each box's lower edge. Keeps no state."""

    def __init__(self, zones: Mapping[str, str]) -> None:
        """`zones` by name, each "x1,y1,x2,y2,..."; raises Invalid for one that is no polygon."""
        self.zones = tuple(parse_zone(name, corners) for name, corners in sorted(zones.items()))

    def process(self, _frame: Frame, _image: Image, objects: tuple[DetectedObject, ...]) -> tuple[DetectedObject, ...]:
        return tuple(msgspec.structs.replace(it, zones=self._around(it)) for it in objects)

    def forget(self, cameras: Collection[str]) -> None:
        pass

    def _around(self, found: DetectedObject) -> tuple[str, ...]:
        left, _, right, bottom = found.box_norm
        return tuple(zone.name for zone in self.zones if zone.holds((left + right) / 2, bottom))


def parse_zone(name: str, text: str) -> Zone:
    """A zone out of "x1,y1,x2,y2,...". Raises Invalid, naming it."""
    try:
        numbers = [float(item) for item in text.split(",")]
    except ValueError as error:
        raise Invalid(f"zone '{name}': '{text}' holds something that is no number") from error
    if len(numbers) < 6 or len(numbers) % 2:
        raise Invalid(f"zone '{name}': expected three or more corners as x,y pairs, got {len(numbers)} numbers")
    if len(numbers) > 2 * MAX_CORNERS:
        raise Invalid(f"zone '{name}' has {len(numbers) // 2} corners, at most {MAX_CORNERS} are allowed")
    if not all(0 <= number <= 1 for number in numbers):
        raise Invalid(f"zone '{name}': corners are parts of the picture, 0..1")
    corners = np.array(numbers, np.float32).reshape(-1, 2)
    if _crosses_itself(corners.tolist()):
        raise Invalid(f"zone '{name}': its edges cross each other")
    return Zone(name, corners)


def _crosses_itself(corners: list[list[float]]) -> bool:
    """Whether two edges that are not neighbours cross."""
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    last = len(edges) - 1
    pairs = ((i, j) for i in range(len(edges)) for j in range(i + 2, len(edges)) if (i, j) != (0, last))
    return any(_cross(*edges[i], *edges[j]) for i, j in pairs)


def _cross(a: list[float], b: list[float], c: list[float], d: list[float]) -> bool:
    """Whether the segments a-b and c-d cross."""
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _turn(a: list[float], b: list[float], c: list[float]) -> float:
    """Positive when a, b, c turn one way, negative when they turn the other way, 0 on one line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
