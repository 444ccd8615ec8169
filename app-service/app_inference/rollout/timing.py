"""How long versions take on this machine, now. Blocking."""

import statistics
import time

import numpy as np

from app_inference.inference.model import Model, Session
from app_inference.vision.image import Image, image_from_pixels

TIMED = 15  # inferences; their median counts, since other models run beside it. The gate judges the 99th percentile


def median_ms(session: Session, image: Image) -> float:
    """Milliseconds of an answer, the median of `TIMED`."""
    return statistics.median(_once_ms(session, image) for _ in range(TIMED))


def in_turn_ms(before: Model, candidate: Model) -> tuple[float, float]:
    """The same of two versions that take turns, so that whatever else the machine does slows both."""
    pairs = [(model.session(), noise(model)) for model in (before, candidate)]
    rounds = [[_once_ms(session, image) for session, image in pairs] for _ in range(TIMED)]
    one, other = zip(*rounds, strict=True)
    return statistics.median(one), statistics.median(other)


def noise(model: Model) -> Image:
    """The same noise each time, in the model's size: a black picture would hide weights that overflow."""
    width, height = model.input_size
    return image_from_pixels(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _once_ms(session: Session, image: Image) -> float:
    started = time.perf_counter()
    session.analyse(image)
    return (time.perf_counter() - started) * 1e3
