"""Which cameras a candidate serves before it serves all: always the same ones. Pure."""

import hashlib
from collections.abc import Callable, Collection

from app_inference.rollout.desired import CanaryOptions

_ALL = 1 << 32


def canary_for(model: str, request: CanaryOptions, cameras: Collection[str] = ()) -> Callable[[str], bool]:
    """Whether a camera is among those the candidate of `model` serves: the named ones, or a fixed share of all.

    Of `cameras`, the known ones, the share is exact and at least one; a camera that comes later is in by its name.
    """
    if request.cameras:
        named = frozenset(request.cameras)
        return lambda camera: camera in named
    served = sorted(_place(model, camera) for camera in cameras)
    count = max(1, round(len(served) * request.percent / 100))
    limit = served[count - 1] if served else int(_ALL * request.percent / 100)
    return lambda camera: _place(model, camera) <= limit


def _place(model: str, camera: str) -> int:
    """Where a camera stands in the row of all cameras, the same for ever and another for each model."""
    return int.from_bytes(hashlib.blake2b(f"{model}/{camera}".encode(), digest_size=4).digest())
