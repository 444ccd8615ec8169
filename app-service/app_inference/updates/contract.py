"""Whether a new version may take an old one's place: what subscribers rely on must be the same. Pure."""

from collections.abc import Sequence
from typing import Protocol

from app_inference.decoders import TensorSpec
from app_inference.images import Size


class Contracted(Protocol):
    """What of a model others rely on."""

    @property
    def task(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def input_size(self) -> Size: ...

    outputs: tuple[TensorSpec, ...]


def differences(serving: Contracted, candidate: Contracted, *, allow_labels: bool = False) -> list[str]:
    """What would break for who reads the results, in words; empty when nothing would."""
    found = []
    if serving.task != candidate.task:
        found.append(f"its task is {candidate.task}, {serving.task} is expected")
    if not allow_labels:
        found += _label_differences(serving.labels, candidate.labels)
    return found


def _label_differences(old: Sequence[str], new: Sequence[str]) -> list[str]:
    if len(old) != len(new):
        gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
        details = "; ".join(part for part in (_listed("gone", gone), _listed("new", come)) if part)
        return [f"it has {len(new)} labels, {len(old)} are expected ({details or 'the same names'})"]
    moved = [(number, was, now) for number, (was, now) in enumerate(zip(old, new, strict=True)) if was != now]
    if not moved:
        return []
    number, was, now = moved[0]
    return [f"label {number} is '{now}', '{was}' is expected" + (f", and {len(moved) - 1} more" if moved[1:] else "")]


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{what}: {shown}" if names else ""
