"""Which cameras a candidate serves before it serves all: always the same ones. Pure."""

import zlib
from collections.abc import Callable

from app_inference.updates.desired import CanaryWish


def canary_for(model: str, wish: CanaryWish) -> Callable[[str], bool]:
    """Whether a camera is among those the candidate of `model` serves: the named ones, or a fixed share of all."""
    if wish.cameras:
        named = frozenset(wish.cameras)
        return lambda camera: camera in named
    limit = wish.percent * 100
    return lambda camera: zlib.crc32(f"{model}/{camera}".encode()) % 10_000 < limit
