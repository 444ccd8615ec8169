"""The detectors that are measured: MobileNetV2-SSDLite at 300x300, built here, so that nothing has to be pulled.

The topology is the real one (1917 boxes, 91 classes, suppression in the graph), and so are its costs. The weights are
random, but for a bias that makes it see the same few things in every picture: this is about costs, not accuracy. The
INT8 one carries its quantisation in the graph, where NNCF would put it.
"""

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

FP32, INT8 = "FP32", "INT8"
SIDE = 300
CLASSES = 91

_CELLS = (19, 10, 5, 3, 2, 1)  # a side, of each feature map
_BOXES = (3, 6, 6, 6, 6, 6)  # a cell
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))
_INFO = {
    "model_type": "ssd",
    "labels": " ".join(f"thing-{number}" for number in range(CLASSES)),
    "mean_values": "127.5",
    "scale_values": "127.5",
}


def save_detector(folder: Path, precision: str) -> Path:
    """The IR of the FP32 or INT8 detector in `folder`, made if it is not there yet."""
    path = folder / f"ssdlite-{precision.lower()}.xml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        ov.save_model(build_detector(precision), path, compress_to_fp16=False)
    return path


def build_detector(precision: str) -> ov.Model:
    """[1, 3, 300, 300] float RGB to rows of DetectionOutput, [1, 1, 100, 7]."""
    picture = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    boxes, scores = _heads(_Layers(is_int8=precision == INT8), picture)
    attributes = {
        "background_label_id": 0,
        "keep_top_k": [100],
        "top_k": 100,
        "code_type": "caffe.PriorBoxParameter.CENTER_SIZE",
        "nms_threshold": 0.6,
        "confidence_threshold": 0.3,
        "normalized": True,
    }
    model = ov.Model([ops.detection_output(boxes, scores, ops.constant(_priors()), attributes)], [picture], "ssdlite")
    for key, value in _INFO.items():
        model.set_rt_info(value, ["model_info", key])
    return model


def _heads(layers: "_Layers", picture: ov.Node) -> tuple[ov.Node, ov.Node]:
    """Box offsets [1, 1917 * 4] and class probabilities [1, 1917 * 91]."""
    boxes, scores = [], []
    for index, (features, count) in enumerate(zip(_features(layers, picture), _BOXES, strict=True)):
        boxes.append(_flat(layers.separable(features, count * 4), 4))
        bias = np.zeros((count, CLASSES), np.float32)
        bias[:, 5 if index == len(_BOXES) - 1 else 0] = 20  # the last map, of one cell, sees; the others see background
        scores.append(_flat(layers.separable(features, count * CLASSES, bias.reshape(-1)), CLASSES))
    probabilities = ops.softmax(ops.concat(scores, 1), 2)
    return ops.reshape(ops.concat(boxes, 1), [1, -1], False), ops.reshape(probabilities, [1, -1], False)


def _features(layers: "_Layers", picture: ov.Node) -> list[ov.Node]:
    """The six feature maps, the finest first."""
    x, maps = layers.conv(layers.quantised(picture, -1, 1), 32, kernel=3, stride=2), []
    for expansion, width, repeats, stride in _STAGES:
        for index in range(repeats):
            wide = layers.conv(x, _channels(x) * expansion)
            if width == 160 and index == 0:
                maps.append(wide)
            narrow = layers.conv(layers.depthwise(wide, stride if index == 0 else 1), width, is_linear=True)
            x = layers.sum(x, narrow) if index else narrow
    maps.append(layers.conv(x, 1280))
    for middle, width in _EXTRAS:
        maps.append(layers.conv(layers.depthwise(layers.conv(maps[-1], middle), 2), width))
    return maps


class _Layers:
    """Layers with random weights, quantised if the net is."""

    def __init__(self, *, is_int8: bool) -> None:
        self._is_int8 = is_int8
        self._chance = np.random.default_rng(7)

    def conv(self, x: ov.Node, width: int, *, kernel: int = 1, stride: int = 1, is_linear: bool = False) -> ov.Node:
        """A convolution over all channels, with ReLU6 unless `is_linear`."""
        weights = self._weights((width, _channels(x), kernel, kernel), _channels(x) * kernel * kernel)
        return self._finish(ops.convolution(x, weights, *_window(kernel, stride)), is_linear=is_linear)

    def depthwise(self, x: ov.Node, stride: int = 1) -> ov.Node:
        """A 3x3 convolution of each channel by itself, with ReLU6."""
        weights = self._weights((_channels(x), 1, 1, 3, 3), 9)
        return self._finish(ops.group_convolution(x, weights, *_window(3, stride)), is_linear=False)

    def separable(self, x: ov.Node, width: int, bias: NDArray[np.float32] | None = None) -> ov.Node:
        """What SSDLite's heads are: depthwise, then across the channels."""
        x = self.depthwise(x)
        out = ops.convolution(x, self._weights((width, _channels(x), 1, 1), _channels(x)), *_window(1, 1))
        return out if bias is None else ops.add(out, ops.constant(bias.reshape(1, -1, 1, 1)))

    def sum(self, x: ov.Node, y: ov.Node) -> ov.Node:
        """A short cut around a bottleneck."""
        return self.quantised(ops.add(x, y), -8, 8)

    def quantised(self, x: ov.Node, low: float, high: float) -> ov.Node:
        """`x` in 256 levels, in an INT8 net."""
        if not self._is_int8:
            return x
        ends = [ops.constant(np.full((1, 1, 1, 1), end, np.float32)) for end in (low, high, low, high)]
        return ops.fake_quantize(x, *ends, 256)

    def _finish(self, x: ov.Node, *, is_linear: bool) -> ov.Node:
        x = ops.add(x, ops.constant(self._chance.normal(0, 0.1, (1, _channels(x), 1, 1)).astype(np.float32)))
        return self.quantised(x, -8, 8) if is_linear else self.quantised(ops.clamp(x, 0.0, 6.0), 0, 6)

    def _weights(self, shape: tuple[int, ...], inputs: int) -> ov.Node:
        values = self._chance.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)
        if not self._is_int8:
            return ops.constant(values)
        most = np.abs(values).reshape(shape[0], -1).max(1).reshape(-1, *[1] * (len(shape) - 1))
        ends = [ops.constant(end) for end in (-most, most, -most, most)]
        return ops.fake_quantize(ops.constant(values), *ends, 255)


def _channels(x: ov.Node) -> int:
    return int(x.get_output_shape(0)[1])


def _window(kernel: int, stride: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Strides, padding before and behind, dilations."""
    before = (kernel - 1) // 2
    return [stride, stride], [before, before], [kernel // 2, kernel // 2], [1, 1]


def _flat(x: ov.Node, width: int) -> ov.Node:
    """[1, boxes * width, h, w] to [1, h * w * boxes, width]."""
    return ops.reshape(ops.transpose(x, [0, 2, 3, 1]), [1, -1, width], False)


def _priors() -> NDArray[np.float32]:
    """[1, 2, 1917 * 4]: boxes of different sizes around every cell's centre, and their variances."""
    boxes = []
    for cells, count in zip(_CELLS, _BOXES, strict=True):
        centres = (np.arange(cells) + 0.5) / cells
        half = np.linspace(0.5, 2, count)[:, None] / (2 * cells) * [1.0, 0.7]
        for y in centres:
            for x in centres:
                boxes += [[x - across, y - down, x + across, y + down] for across, down in half]
    corners = np.asarray(boxes, np.float32).reshape(-1)
    variances = np.tile(np.asarray([0.1, 0.1, 0.2, 0.2], np.float32), len(boxes))
    return np.stack([corners, variances])[None]
