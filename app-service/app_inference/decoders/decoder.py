"""A decoder: the outputs that a family of models has, its usual settings, and how its tensors become a result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.errors import ModelRejected
from app_inference.vision.detections import Result
from app_inference.vision.image import Size
from app_inference.vision.resize import STANDARD, Fit

Outputs = Mapping[str, NDArray[Any]]  # every name of a tensor leads to it


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One output as the model declares it."""

    names: tuple[str, ...]
    shape: tuple[int | None, ...]  # None where it depends on the input
    dtype: str  # numpy's name

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{min(self.names, key=len, default='')} [{sides}] {self.dtype}".lstrip()

    def matches(self, *pattern: int | None) -> bool:
        """Whether the shape could be `pattern`; None matches any side, and an unknown side matches anything."""
        return len(self.shape) == len(pattern) and all(
            want is None or have is None or want == have for have, want in zip(self.shape, pattern, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is checked of a model: its outputs, its number of labels (0: none), its input size."""

    outputs: Sequence[TensorSpec]
    labels: int
    size: Size | None


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """Thresholds and units for decoding; all of them may change between two frames."""

    confidence: float = 0.5  # 0..1, a result scores at least this
    iou: float = 0.5  # 0..1, overlap above which the lesser box goes
    agnostic_nms: bool = False  # boxes suppress those of other classes too
    max_detections: int = 300
    top_k: int = 1  # classes a classifier names
    box_units: str = ""  # pixels or unit (0..1 of the input), where a family has both; empty: its habit
    multilabel: bool = False  # a classifier's classes do not exclude one another
    label_offset: int = 0  # the model's number of the first label
    image_threshold: float = 0.5  # anomaly: in the model's own units
    pixel_threshold: float = 0.5
    normalization_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class TypeDefaults:
    """What a family was trained with, for what neither manifest nor model states."""

    resize: str = STANDARD
    pad: int = 0
    color: str = "BGR"  # of the model's input
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()  # of families that find one class only
    options: DecodeOptions = field(default_factory=DecodeOptions)


@dataclass(frozen=True, slots=True)
class Decoder:
    """A family of models with the same tensors."""

    type: str
    task: str
    expects: str  # in words, for the error that rejects a model
    mismatch: Callable[[Expectation], str | None]
    read: Callable[[Outputs, Fit, DecodeOptions], Result]
    defaults: TypeDefaults = field(default_factory=TypeDefaults)

    def check(self, outputs: Sequence[TensorSpec], labels: int = 0, size: Size | None = None) -> None:
        """Raise ModelRejected, with expected and actual outputs, when this is not such a model."""
        mismatch = self.mismatch(Expectation(outputs, labels, size))
        if mismatch is None:
            return
        if self.mismatch(Expectation(outputs, 0, size)) is None:  # only the labels do not fit
            raise ModelRejected(f"type {self.type}: {mismatch}; the type expects {self.expects}")
        raise ModelRejected(f"type {self.type} expects {self.expects}; {mismatch}")

    def decode(self, outputs: Outputs, fit: Fit, options: DecodeOptions) -> Result:
        """The result in pixels of the original. What is no number is left out, and raises nothing.

        The result keeps no reference to `outputs`, which the next inference overwrites.
        """
        with np.errstate(all="ignore"):
            return self.read(outputs, fit, options)
