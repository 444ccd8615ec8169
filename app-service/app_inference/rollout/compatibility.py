"""Whether a new version may take an old one's place: what subscribers rely on must be the same. Pure.

A difference that breaks them stops an update; one they will not notice is listed, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app_inference.decoders import TensorSpec
from app_inference.vision.image import Size

TASK, LABELS, INPUT, OUTPUTS, TYPE = "task", "labels", "input", "outputs", "type"


class Contracted(Protocol):
    """What of a model others rely on."""

    @property
    def task(self) -> str: ...
    @property
    def model_type(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def input_size(self) -> Size: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was."""

    key: str
    text: str  # what is, and what was
    is_breaking: bool  # for who reads the results


def differences(serving: Contracted, candidate: Contracted, *, allow_labels: bool = False) -> list[str]:
    """What would break for who reads the results, in words; empty when nothing would."""
    return [it.text for it in compare(serving, candidate) if it.is_breaking and not (allow_labels and it.key == LABELS)]


def compare(serving: Contracted, candidate: Contracted) -> list[Difference]:
    """Everything that is not as it was, what breaks first."""
    found = []
    if serving.task != candidate.task:
        found.append(Difference(TASK, f"its task is {candidate.task}, {serving.task} is expected", is_breaking=True))
    found += [Difference(LABELS, text, is_breaking=True) for text in _label_texts(serving.labels, candidate.labels)]
    if serving.model_type != candidate.model_type:
        found.append(Difference(TYPE, f"its type is {candidate.model_type}, it was {serving.model_type}", False))
    if serving.input_size != candidate.input_size:
        (width, height), (was_width, was_height) = candidate.input_size, serving.input_size
        text = f"its input is {width}x{height} pixels, it was {was_width}x{was_height}"
        found.append(Difference(INPUT, text, is_breaking=False))
    found += [
        Difference(OUTPUTS, text, is_breaking=False) for text in _output_texts(serving.outputs, candidate.outputs)
    ]
    return found


def _label_texts(old: Sequence[str], new: Sequence[str]) -> list[str]:
    if tuple(old) == tuple(new):
        return []
    gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
    if len(old) != len(new):
        details = "; ".join(part for part in (_listed("gone", gone), _listed("new", come)) if part)
        return [f"it has {len(new)} labels, {len(old)} are expected ({details or 'the same names'})"]
    moved = [(number, was, now) for number, (was, now) in enumerate(zip(old, new, strict=True)) if was != now]
    number, was, now = moved[0]
    deployment = ", the same names in another order" if not gone and not come else ""
    return [
        f"label {number} is '{now}', '{was}' is expected"
        + (f", and {len(moved) - 1} more" if moved[1:] else "")
        + deployment
    ]


def _output_texts(old: Sequence[TensorSpec], new: Sequence[TensorSpec]) -> list[str]:
    """Outputs by their place: names change from export to export, and the decoder has checked what it needs."""
    if len(old) != len(new):
        return [f"it has {len(new)} outputs; the current version has {len(old)}"]
    pairs = zip(old, new, strict=True)
    return [
        f"output {number} is {now}, it was {was}"
        for number, (was, now) in enumerate(pairs)
        if (was.shape, was.dtype) != (now.shape, now.dtype)
    ]


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{what}: {shown}" if names else ""
