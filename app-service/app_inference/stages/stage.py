"""What a stage is, and what it works on."""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

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


class Frame(Protocol):
    """What a stage may know of a frame beside its picture."""

    @property
    def camera(self) -> str:
        """The camera's device name."""

    @property
    def capture_ns(self) -> int:
        """When it was taken, UNIX time."""


class Stage(Protocol):
    """One step of a pipeline. It may keep state for each camera, whose frames it gets one at a time and in order."""

    def process(self, frame: Frame, image: Image, objects: tuple[DetectedObject, ...]) -> tuple[DetectedObject, ...]:
        """The objects as the next stage, or the result, gets them."""

    def forget(self, cameras: Collection[str]) -> None:
        """Drop the state of cameras that are deleted."""
