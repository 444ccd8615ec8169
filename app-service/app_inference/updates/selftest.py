"""What a version must show before it may serve."""

import numpy as np

from app_inference.errors import InferenceFailed, ModelRejected
from app_inference.images import image_from_pixels
from app_inference.model import Model
from app_inference.repository import StoredModel


def self_test(model: Model, stored: StoredModel) -> None:
    """Raise ModelRejected when its answer to a black picture holds NaN or infinity, or there is none."""
    width, height = model.input_size
    try:
        model.session().analyse(image_from_pixels(np.zeros((height, width, 3), np.uint8)), is_checked=True)
    except InferenceFailed as error:
        raise ModelRejected(f"{stored.name}@{stored.version} fails its self-test: {error}") from error
