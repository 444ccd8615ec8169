"""Models that see the mean colour of a picture, and pictures of one colour."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from app_inference.inference.model import Model, Runtime, load_model
from app_inference.models.repository import StoredModel, stored_model
from app_inference.vision.detections import Classes
from app_inference.vision.image import Image, image_from_pixels

COLORS = {"blue": (250, 20, 60), "green": (40, 250, 30), "red": (10, 50, 240)}  # BGR
F32 = Runtime(precision="f32")
MANIFEST = "schema: vision.model/1\nname: colours\nversion: 2.1.0\ntype: classification\nlabels: [b, g, r]\n"


def plain(color: tuple[int, int, int], size: tuple[int, int] = (48, 40)) -> Image:
    return image_from_pixels(np.full((size[1], size[0], 3), color, np.uint8))


def loaded(path: Path, runtime: Runtime | None = None, **overrides: Any) -> Model:
    return load_model(stored_model(path), {"type": "classification", "multilabel": True, **overrides}, runtime or F32)


def means(model: Model, image: Image) -> list[float]:
    """What the mean-colour model computed for each of its channels, before its sigmoid."""
    result, _ = model.session().analyse(image, replace(model.resolved.options, confidence=0.0))
    assert isinstance(result, Classes)
    scores = result.scores[np.argsort(result.class_ids)].astype(np.float64)
    return np.log(scores / (1 - scores)).tolist()  # type: ignore[no-any-return]


def with_manifest(path: Path, text: str) -> StoredModel:
    (path.parent / "manifest.yaml").write_text(MANIFEST + text)
    return stored_model(path)
