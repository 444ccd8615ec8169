"""TensorFlow's two formats, written byte by byte: a frozen graph, and a SavedModel's folder. Both take the mean of
each channel. IR is what every other test reads; ONNX and TFLite are read with the media folder's models."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from app_inference.detections import Classes
from app_inference.images import image_from_pixels
from app_inference.model import load_model
from app_inference.repository import stored_model

_FLOAT, _INT32 = 1, 3  # tensorflow's DataType


def varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def attribute(key: str, value: bytes) -> bytes:
    return text(5, text(1, key) + text(2, value))


def of_type(key: str, kind: int) -> bytes:
    return attribute(key, number(6, kind))


def shape(*sides: int) -> bytes:
    return b"".join(text(2, number(1, side)) for side in sides)


def node(name: str, operation: str, *inputs: str, attributes: bytes = b"") -> bytes:
    return text(1, text(1, name) + text(2, operation) + b"".join(text(3, one) for one in inputs) + attributes)


def graph() -> bytes:
    axes = np.array([1, 2], np.int32).tobytes()
    tensor = number(1, _INT32) + text(2, shape(2)) + text(4, axes)
    picture = of_type("dtype", _FLOAT) + attribute("shape", text(7, shape(1, 32, 32, 3)))
    mean = of_type("T", _FLOAT) + of_type("Tidx", _INT32) + attribute("keep_dims", number(5, 0))
    return (
        node("picture", "Placeholder", attributes=picture)
        + node("axes", "Const", attributes=of_type("dtype", _INT32) + attribute("value", text(8, tensor)))
        + node("logits", "Mean", "picture", "axes", attributes=mean)
    )


def saved_model() -> bytes:
    def info(key: str, tensor: str, *sides: int) -> bytes:
        return text(1, key) + text(2, text(1, tensor) + number(2, _FLOAT) + text(3, shape(*sides)))

    signature = (
        text(1, info("picture", "picture:0", 1, 32, 32, 3))
        + text(2, info("logits", "logits:0", 1, 3))
        + text(3, "tensorflow/serving/predict")
    )
    meta = text(1, text(4, "serve")) + text(2, graph()) + text(5, text(1, "serving_default") + text(2, signature))
    return number(1, 1) + text(2, meta)


def frozen_graph(folder: Path) -> Path:
    path = folder / "model.pb"
    path.write_bytes(graph())
    return path


def saved_folder(folder: Path) -> Path:
    (folder / "saved_model.pb").write_bytes(saved_model())
    return folder


@pytest.mark.parametrize("write", [frozen_graph, saved_folder])
def test_tensorflow_models_are_read(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    settings = {"type": "classification", "color": "RGB", "labels": ["red", "green", "blue"], "scale": [100.0]}
    with load_model(stored_model(write(tmp_path)), settings) as model:
        result, _ = model.session().analyse(image_from_pixels(np.full((20, 30, 3), (10, 20, 200), np.uint8)))
    assert isinstance(result, Classes)
    assert [model.labels[number] for number in result.class_ids] == ["red"]
