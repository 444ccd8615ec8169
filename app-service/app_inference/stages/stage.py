"""What a stage is, and what it works on."""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct, field

from app_inference.vision.image import Image


class DetectedObject(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One object, as results carry it."""

    label: str
    label_id: int
    score: float  # 0..1
    box: tuple[float, float, float, float]  # xyxy, pixels
    box_norm: tuple[float, float, float, float]  # xyxy, 0..1
    zones: tuple[str, ...]  # those in which it stands
    keypoints: tuple[tuple[float, float, float], ...] = ()  # x, y in pixels, score
    id: int | None = None  # of its track; unique for this camera and run of the service


class Frame(Protocol):
    """What a stage may know of a frame beside its picture."""

    @property
    def camera(self) -> str:
        """The camera's device name."""

    @property
    def frame_id(self) -> str:
        """Unique; the frame event carries it."""

    @property
    def capture_ns(self) -> int:
        """When it was taken, UNIX time."""


class Stage(Protocol):
    """One step of a pipeline. It may keep state for each camera, whose frames it gets one at a time and in order."""

    def process(self, frame: Frame, image: Image, objects: tuple[DetectedObject, ...]) -> tuple[DetectedObject, ...]:
        """The objects as the next stage, or the result, gets them."""

    def forget(self, cameras: Collection[str]) -> None:
        """Drop the state of cameras that are deleted."""


class SceneEvent(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What one tracked object did: `vision.scene-event/1`."""

    schema: str = field(default_factory=lambda: "vision.scene-event/1")  # a factory: the default is not omitted
    type: str  # new, end, enter, leave, dwell, cross
    pipeline: str
    camera: str
    frame_id: str  # of the frame that showed it
    capture_origin: str  # UNIX ns in decimal
    track_id: int
    track_key: str
    label: str
    score: float
    box_norm: tuple[float, float, float, float]  # xyxy, 0..1
    zone: str = ""
    line: str = ""
    direction: str = ""  # of a crossing: in or out
    dwell_seconds: float = 0.0  # of a stay, so far or in all
    start: str = ""  # of the track, UNIX ns; the rest is of an `end` alone
    best_frame_id: str = ""
    best_score: float = 0.0
    path: tuple[tuple[float, float], ...] = ()  # at most 16 centres, 0..1


class SceneCount(Struct, rename="camel", frozen=True):
    """How many objects are in a zone, or have crossed a line since the service started."""

    pipeline: str
    camera: str
    source: str  # the zone or line
    since: str  # UNIX ns in decimal
    occupancy: int = 0  # of a zone
    count_in: int = 0  # of a line, as the next
    count_out: int = 0
