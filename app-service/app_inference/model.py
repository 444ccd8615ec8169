"""The only door to OpenVINO: read a model, put its preprocessing into the graph, compile it, open sessions.

Rules that keep it alive, each found by running into it:
* `Model.warm_up()` runs on the main thread before a worker starts: the binding's first use by two threads at once
  can deadlock.
* `read_model` comes before compiling, and the cache's folder is named by digest, build and device: given a path to
  compile, the cache answers with the old weights after an update that leaves the .xml as it was.
* Weights are read, not mapped: a file overwritten in place would kill or change the running process.
* The graph takes u8 NHWC at its own size. Colour, type, mean and scale fold into it and cost nothing; a resize in the
  graph after the conversion to float costs ten milliseconds.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from app_inference.decoders import TensorSpec
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.images import Size, image_from_pixels
from app_inference.input_shape import InputShape, input_shape
from app_inference.repository import StoredModel
from app_inference.resolution import ResolvedModel, resolve, state
from app_inference.runtime import Runtime
from app_inference.session import Session, Timings, short_cause

__all__ = ["Model", "Runtime", "Session", "Timings", "available_devices", "load_model"]


class Model:
    """A compiled model and all that is known of it. Threads share it, each through a session of its own."""

    def __init__(
        self, stored: StoredModel, digest: str, resolved: ResolvedModel, graph: ov.Model, compiled: ov.CompiledModel
    ) -> None:
        self.name = stored.name
        self.version = stored.version
        self.digest = digest  # sha256, hex
        self.resolved = resolved
        self.outputs = tuple(map(_spec, compiled.outputs))
        self.precision = _precision(graph, compiled)  # INT8, FP32, FP16, BF16
        self.execution_devices: tuple[str, ...] = tuple(compiled.get_property("EXECUTION_DEVICES"))
        self.is_from_cache = bool(compiled.get_property("LOADED_FROM_CACHE"))
        self._compiled: ov.CompiledModel | None = compiled

    @property
    def model_type(self) -> str:
        return self.resolved.decoder.type

    @property
    def task(self) -> str:
        return self.resolved.decoder.task

    @property
    def labels(self) -> tuple[str, ...]:
        return self.resolved.labels

    @property
    def input_size(self) -> Size:
        """Width and height of the model's input; what `image_from_jpeg` takes as `needed`."""
        return self.resolved.size

    def session(self) -> Session:
        """A session for the calling thread alone; raises ModelUnavailable after `close`."""
        if self._compiled is None:
            raise ModelUnavailable(f"{self.name}@{self.version} is closed")
        return Session(self.resolved, self.outputs, self._compiled.create_infer_request())

    def warm_up(self) -> Timings:
        """Analyse a black picture. On the main thread, before any worker starts: see the rules above."""
        width, height = self.input_size
        return self.session().analyse(image_from_pixels(np.zeros((height, width, 3), np.uint8)))[1]

    def close(self) -> None:
        """Give up the compiled model; its memory goes with the last session."""
        self._compiled = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def load_model(
    stored: StoredModel, overrides: Mapping[str, Any] | None = None, runtime: Runtime | None = None
) -> Model:
    """Read, check, prepare and compile a model; `overrides` are keys of `resolution.Overrides`.

    Raises ModelRejected (the model is wrong), ModelUnavailable (it could not be had) or Invalid (an override is).
    """
    runtime = runtime or Runtime()
    stored.check_files()
    _check_release(stored)
    digest = stored.digest()
    model = _read(stored.path)
    stated = state(stored.manifest, _model_info(model), overrides or {})
    try:
        shape = input_shape(_only_input(model), stated)
        _give_shape(model, shape)
        resolved = resolve(stored.path.name, stated, tuple(map(_spec, model.outputs)), shape.size)
        prepared = _prepared(model, shape, resolved)
    except ModelRejected as rejected:
        raise ModelRejected(f"{stored.path}: {rejected}") from rejected
    properties = runtime.properties(digest, ov.get_version())
    try:
        compiled = _core().compile_model(prepared, runtime.device, properties)
        return Model(stored, digest, resolved, prepared, compiled)
    except RuntimeError as error:
        raise ModelUnavailable(f"{stored.path}: cannot run on {runtime.device}: {short_cause(error)}") from error


def available_devices() -> list[str]:
    """The devices OpenVINO can use here, such as CPU, GPU.0, NPU."""
    return list(_core().available_devices)


@cache
def _core() -> ov.Core:
    core = ov.Core()
    core.set_property({"ENABLE_MMAP": False})
    return core


def _read(path: Path) -> ov.Model:
    try:
        return _core().read_model(path)
    except RuntimeError as error:
        raise ModelRejected(f"{path}: OpenVINO cannot read it: {short_cause(error)}") from error


def _model_info(model: ov.Model) -> dict[str, str]:
    if not model.has_rt_info("model_info"):
        return {}
    return {key: str(value) for key, value in model.get_rt_info("model_info").value.items()}


def _check_release(stored: StoredModel) -> None:
    """Raise ModelRejected where the manifest asks for another OpenVINO."""
    if stored.manifest is None:
        return
    ours, least, most = _release(ov.get_version()), stored.manifest.min_openvino, stored.manifest.max_openvino
    if (least and ours < _release(least)) or (most and ours[: len(_release(most))] > _release(most)):
        wanted = " ".join(filter(None, [least and f"from {least}", most and f"up to {most}"]))
        raise ModelRejected(f"{stored.path}: made for OpenVINO {wanted}, this is {'.'.join(map(str, ours))}")


def _release(version: str) -> tuple[int, ...]:
    """2026.4.1-22982-e213… as (2026, 4, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def _only_input(model: ov.Model) -> TensorSpec:
    if len(model.inputs) != 1:
        names = ", ".join(_spec(port).names[0] for port in model.inputs)
        raise ModelRejected(f"expected one input, a picture; it has {len(model.inputs)}: {names}")
    return _spec(model.input(0))


def _give_shape(model: ov.Model, shape: InputShape) -> None:
    port = _spec(model.input(0))
    if port.shape == shape.sides():
        return
    try:
        model.reshape(list(shape.sides()))
    except RuntimeError as error:
        raise ModelRejected(f"its input {port} cannot become {list(shape.sides())}: {short_cause(error)}") from error


def _spec(port: ov.Output) -> TensorSpec:
    """A port's names without TensorFlow's ":0", or its node's name where it has none."""
    names = sorted(name.removesuffix(":0") for name in port.get_names())
    shape = tuple(side.get_length() if side.is_static else None for side in port.get_partial_shape())
    return TensorSpec(tuple(names) or (port.get_node().get_friendly_name(),), shape, port.element_type.to_dtype().name)


def _prepared(model: ov.Model, shape: InputShape, resolved: ResolvedModel) -> ov.Model:
    """The model behind a u8 NHWC BGR input of its own size."""
    steps = PrePostProcessor(model)
    picture = steps.input(0)
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    picture.model().set_layout(ov.Layout(shape.layout))
    if resolved.color == "RGB":
        picture.preprocess().convert_color(ColorFormat.RGB)
    if resolved.mean or resolved.scale:
        picture.preprocess().convert_element_type(ov.Type.f32)
    if resolved.mean:
        picture.preprocess().mean(_three(resolved.mean))
    if resolved.scale:
        picture.preprocess().scale(_three(resolved.scale))
    try:
        return steps.build()
    except RuntimeError as error:
        raise ModelRejected(f"its preprocessing cannot be built: {short_cause(error)}") from error


def _three(values: tuple[float, ...]) -> list[float]:
    """A number a channel."""
    return list(values) * (3 // len(values))


def _precision(model: ov.Model, compiled: ov.CompiledModel) -> str:
    """INT8 for a quantised graph, else what the device computes in."""
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return "INT8"
    computed = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}.get(computed, str(computed))
