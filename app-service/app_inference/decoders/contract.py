"""What every decoder is: a family's expected outputs, its usual settings, and the way from tensors to a result."""

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
    """What a model is asked to fulfil: its outputs, how many labels it came with (0: none), its input size."""

    outputs: Sequence[TensorSpec]
    labels: int
    size: Size | None


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How strict to be with what a model says; all of it may change between two frames."""

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
    """What a family was trained with, where neither manifest nor model says otherwise."""

    resize: str = STANDARD
    pad: int = 0
    color: str = "BGR"  # of the model's input
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()  # of families that find one thing alone
    options: DecodeOptions = field(default_factory=DecodeOptions)


@dataclass(frozen=True, slots=True)
class Decoder:
    """A family of models that say the same thing in the same tensors."""

    type: str
    task: str
    expects: str  # in words, for the sentence that refuses a model
    complaint: Callable[[Expectation], str | None]
    read: Callable[[Outputs, Fit, DecodeOptions], Result]
    defaults: TypeDefaults = field(default_factory=TypeDefaults)

    def check(self, outputs: Sequence[TensorSpec], labels: int = 0, size: Size | None = None) -> None:
        """Raise ModelRejected, with what was expected and what came, when this is not such a model."""
        complaint = self.complaint(Expectation(outputs, labels, size))
        if complaint is None:
            return
        if self.complaint(Expectation(outputs, 0, size)) is None:  # only the labels do not fit
            raise ModelRejected(f"type {self.type}: {complaint}; the type expects {self.expects}")
        raise ModelRejected(f"type {self.type} expects {self.expects}; {complaint}")

    def decode(self, outputs: Outputs, fit: Fit, options: DecodeOptions) -> Result:
        """What these tensors say, in pixels of the original. What is no number is left out, and raises nothing.

        The result keeps nothing of `outputs`, which the next inference overwrites.
        """
        with np.errstate(all="ignore"):
            return self.read(outputs, fit, options)


def came(outputs: Sequence[TensorSpec]) -> str:
    """The outputs in words."""
    return "the model has " + ("; ".join(map(str, outputs)) or "no output")


def only_shape(expectation: Expectation, *pattern: int | None) -> str | None:
    """Complain unless there is one floating point output of this shape."""
    outputs = expectation.outputs
    if len(outputs) == 1 and outputs[0].matches(*pattern) and outputs[0].dtype.startswith("float"):
        return None
    return came(outputs)


def only_values(outputs: Outputs) -> NDArray[Any]:
    """What the one output says of the one picture."""
    values: NDArray[Any] = next(iter(outputs.values()))[0]
    return values


def label_complaint(classes: int | None, labels: int) -> str | None:
    """Complain unless the model's classes and the labels are equally many, or one of the two is not known."""
    if classes is None or not labels or classes == labels:
        return None
    hint = "; if its class 0 is the background, say label_offset: 1" if classes == labels + 1 else ""
    return f"the model tells {classes} classes apart, {labels} labels are given{hint}"
