"""Small real models for the app's tests: IR files of a few kilobytes, built with OpenVINO's own operations."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from app_inference.models.repository import StoredModel, stored_model
from numpy.typing import NDArray
from openvino import opset13 as op

BuildModel = Callable[..., Path]


@pytest.fixture
def build_saying(tmp_path: Path) -> BuildModel:
    """A model that always says the same: its outputs are the given arrays, whatever the picture."""

    def build(
        outputs: Mapping[str, NDArray[Any]],
        input_shape: tuple[int, ...] = (1, 3, 64, 64),
        info: Mapping[str, str] | None = None,
        name: str = "model",
    ) -> Path:
        picture = op.parameter(list(input_shape), np.float32, name="picture")
        nothing = op.multiply(op.reduce_sum(picture, np.arange(len(input_shape))), np.float32(0))
        results = []
        for key, values in outputs.items():
            said = op.add(
                op.constant(values), op.convert(nothing, op.constant(values).get_element_type().get_type_name())
            )
            said.output(0).set_names({key})
            results.append(op.result(said))
        return _saved(ov.Model(results, [picture], name), tmp_path / f"{name}.xml", info)

    return build


@pytest.fixture
def build_mean_color(tmp_path: Path) -> BuildModel:
    """A classifier of three classes whose scores are the mean of each channel of its input."""

    def build(
        layout: str = "NCHW", info: Mapping[str, str] | None = None, name: str = "model", dynamic: bool = False
    ) -> Path:
        size = [-1, -1] if dynamic else [32, 32]
        shape, axes = ([1, 3, *size], [2, 3]) if layout == "NCHW" else ([1, *size, 3], [1, 2])
        picture = op.parameter(shape, np.float32, name="picture")
        mean = op.reduce_mean(picture, np.array(axes))
        mean.output(0).set_names({"logits"})
        return _saved(ov.Model([op.result(mean)], [picture], name), tmp_path / f"{name}.xml", info)

    return build


@pytest.fixture
def build_onnx(tmp_path: Path) -> BuildModel:
    """An ONNX file of the mean of each channel, with properties as exporters write them; its bytes made by hand."""

    def build(props: Mapping[str, str] | None = None, name: str = "model") -> Path:
        node = _text(1, "picture") + _text(2, "logits") + _text(4, "GlobalAveragePool")
        graph = _text(1, node) + _text(2, name) + _text(11, _tensor("picture", 32)) + _text(12, _tensor("logits", 1))
        written = b"".join(_text(14, _text(1, key) + _text(2, value)) for key, value in (props or {}).items())
        path = tmp_path / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_number(1, 8) + _text(7, graph) + _text(8, _number(2, 13)) + written)
        return path

    return build


@pytest.fixture
def build_external_onnx(tmp_path: Path) -> BuildModel:
    """An ONNX file of two classes, mean colour times weights that lie in a file beside it."""

    def build(weights: bytes | None, location: str = "weights.bin", name: str = "model") -> Path:
        entries = {"location": location, "offset": "0", "length": "24"}
        external = b"".join(_text(13, _text(1, key) + _text(2, value)) for key, value in entries.items())
        tensor = _number(1, 3) + _number(1, 2) + _number(2, 1) + _text(8, "w") + external + _number(14, 1)
        axes = _text(5, _text(1, "axes") + _number(8, 2) + _number(8, 3) + _number(20, 7))
        keep = _text(5, _text(1, "keepdims") + _number(3, 0) + _number(20, 2))
        mean = _text(1, "picture") + _text(2, "m") + _text(4, "ReduceMean") + axes + keep
        product = _text(1, "m") + _text(1, "w") + _text(2, "logits") + _text(4, "MatMul")
        ends = _text(11, _tensor("picture", 32)) + _text(12, _text(1, "logits") + _text(2, _text(1, _number(1, 1))))
        graph = _text(1, mean) + _text(1, product) + _text(2, name) + _text(5, tensor) + ends
        path = tmp_path / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_number(1, 8) + _text(7, graph) + _text(8, _number(2, 13)))
        if weights is not None:
            (path.parent / location).parent.mkdir(exist_ok=True)
            (path.parent / location).write_bytes(weights)
        return path

    return build


def _tensor(name: str, side: int) -> bytes:
    shape = b"".join(_text(1, _number(1, length)) for length in (1, 3, side, side))
    return _text(1, name) + _text(2, _text(1, _number(1, 1) + _text(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


@pytest.fixture
def stored() -> Callable[[Path], StoredModel]:
    """A file on disk as the repository sees it."""
    return stored_model


def _saved(model: ov.Model, path: Path, info: Mapping[str, str] | None) -> Path:
    for key, value in (info or {}).items():
        model.set_rt_info(value, ["model_info", key])
    path.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, path, compress_to_fp16=False)
    return path
