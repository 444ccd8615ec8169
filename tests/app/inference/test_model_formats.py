"""TensorFlow's two formats, and Paddle's, written byte by byte: a frozen graph, a SavedModel's folder, a program. All
take the mean of each channel. IR is what every other test reads, ONNX is in `test_exports`, and TFLite is read with the
media folder's models and those of the catalogue."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from app_inference.inference.model import load_model
from app_inference.models.repository import stored_model
from app_inference.vision.detections import Classes
from app_inference.vision.image import image_from_pixels

_FLOAT, _INT32 = 1, 3  # tensorflow's DataType
_PADDLE_FLOAT, _PADDLE_TENSOR = 5, 7  # paddle's VarType


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


def paddle_variable(name: str, *sides: int) -> bytes:
    tensor = number(1, _PADDLE_FLOAT) + b"".join(number(2, side) for side in sides)
    return text(1, name) + text(2, number(1, _PADDLE_TENSOR) + text(3, text(1, tensor)))


def paddle_operation(kind: str, source: str, target: str, *attributes: bytes) -> bytes:
    inputs, outputs = text(1, "X") + text(2, source), text(1, "Out") + text(2, target)
    return text(1, inputs) + text(2, outputs) + text(3, kind) + b"".join(text(4, one) for one in attributes)


def paddle_program(folder: Path) -> Path:
    column = text(1, "col") + number(2, 0) + number(3, 0)
    axes = text(1, "dim") + number(2, 3) + number(6, 2) + number(6, 3)
    flags = [text(1, name) + number(2, 6) + number(10, 0) for name in ("keep_dim", "reduce_all")]
    operations = [
        paddle_operation("feed", "feed", "picture", column),
        paddle_operation("reduce_mean", "picture", "logits", axes, *flags),
        paddle_operation("fetch", "logits", "fetch", column),
    ]
    ends = [text(1, name) + text(2, number(1, kind)) + number(3, 1) for name, kind in (("feed", 9), ("fetch", 10))]
    variables = [*ends, paddle_variable("picture", 1, 3, 32, 32), paddle_variable("logits", 1, 3)]
    block = number(1, 0) + number(2, (1 << 64) - 1)  # it has no parent: -1
    block += b"".join(text(3, one) for one in variables) + b"".join(text(4, one) for one in operations)
    path = folder / "model.pdmodel"
    path.write_bytes(text(1, block) + text(4, number(1, 2_005_000)))
    return path


@pytest.mark.goal(2)
@pytest.mark.parametrize("write", [frozen_graph, saved_folder, paddle_program])
def test_models_of_other_frameworks_are_read(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    settings = {"type": "classification", "color": "RGB", "labels": ["red", "green", "blue"], "scale": [100.0]}
    with load_model(stored_model(write(tmp_path)), settings) as model:
        result, _ = model.session().analyse(image_from_pixels(np.full((20, 30, 3), (10, 20, 200), np.uint8)))
    assert isinstance(result, Classes)
    assert [model.labels[number] for number in result.class_ids] == ["red"]


@pytest.mark.goal(1, 2)
def test_the_digest_of_a_saved_model_is_not_its_manifests(tmp_path: Path) -> None:
    folder = saved_folder(tmp_path)
    before = stored_model(folder).digest()
    (folder / "manifest.yaml").write_text("schema: vision.model/1\nname: net\nversion: 1.0.0\n")
    assert stored_model(folder).digest() == before
    (folder / "variables").mkdir()
    (folder / "variables" / "variables.index").write_bytes(b"x")
    assert stored_model(folder).digest() != before
    moved = tmp_path / "net" / "3" / "model.savedmodel"  # where Triton has it
    moved.mkdir(parents=True)
    (folder / "saved_model.pb").rename(moved / "saved_model.pb")
    found = stored_model(moved.parent)
    assert (found.path, found.name, found.version) == (moved, "net", "3")
