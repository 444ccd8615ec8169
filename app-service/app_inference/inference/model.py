"""Read a model and resolve its settings, put its preprocessing into the graph, compile it, open sessions.

Rules, each learnt from a failure:
* `Model.warm_up()` ends before a worker starts, on one thread alone: the binding's first use by two threads at once
  can deadlock.
* `read_model` comes before compiling, and the cache's folder is named by digest, build, device and precision:
  given a path to compile, the cache answers with the old weights after an update that leaves the .xml as it was.
* Weights are read, not mapped: a file overwritten in place would kill or change the running process.
* The graph takes u8 NHWC at its own size. Colour, type, mean and scale fold into it and cost nothing; a resize in the
  graph after the conversion to float costs ten milliseconds.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
import openvino as ov
from msgspec import Struct
from numpy.typing import NDArray
from openvino.preprocess import ColorFormat, PrePostProcessor

from app_inference.decoders import TensorSpec
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.runtime import Runtime
from app_inference.inference.session import Session, Timings, short_cause
from app_inference.models.metadata.exports import export_from_props
from app_inference.models.metadata.model_info import below, facts_from
from app_inference.models.metadata.openvino import check_release, warnings
from app_inference.models.metadata.provenance import Statement, provenance
from app_inference.models.repository import StoredModel
from app_inference.models.resolution import MODEL, ResolvedModel, Stated, resolve, state
from app_inference.vision.image import Size, image_from_pixels

__all__ = ["Model", "OpenedModel", "Runtime", "Session", "Timings", "available_devices", "load_model", "open_model"]

log = logging.getLogger(__name__)

_PRECISIONS = {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}  # OpenVINO's hint -> what people call it
_DTYPES = {"u8": "uint8", "f16": "float16", "f32": "float32"}
_CHANNELS_AT = {"NCHW": 1, "NHWC": 3}


@dataclass(frozen=True, slots=True)
class InputShape:
    """A picture of three channels or a grey one, as the model wants it."""

    layout: str  # NCHW or NHWC
    size: Size
    channels: int = 3

    def sides(self) -> tuple[int, ...]:
        """The tensor's shape, one picture at a time."""
        width, height = self.size
        sides = (height, width)
        return (1, self.channels, *sides) if self.layout == "NCHW" else (1, *sides, self.channels)


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model that was read and resolved, and is not compiled yet."""

    stored: StoredModel
    graph: ov.Model
    picture: TensorSpec  # the input as the file declares it
    outputs: tuple[TensorSpec, ...]
    shape: InputShape
    resolved: ResolvedModel
    provenance: dict[str, Statement]
    warnings: tuple[str, ...]  # what may go wrong, and does not stop it


class ModelFacts(Struct, rename="camel", frozen=True):
    """Which model gave a result, and what ran it, as results carry it."""

    name: str
    version: str
    digest: str  # first 12 digits of its sha256
    task: str
    device: str  # several, comma separated, where AUTO or HETERO says so
    precision: str  # FP32, BF16, FP16, INT8


class Model:
    """A compiled model and its properties. Threads share it, each through a session of its own."""

    def __init__(self, opened: OpenedModel, digest: str, compiled: ov.CompiledModel, runtime: Runtime) -> None:
        self.name = opened.stored.name
        self.version = opened.stored.version
        self.digest = digest  # sha256, hex
        self.resolved = opened.resolved
        self.provenance = opened.provenance
        self.outputs = tuple(map(_spec, compiled.outputs))
        self.precision = _precision(opened.graph, compiled)  # INT8, FP32, FP16, BF16
        self.execution_devices: tuple[str, ...] = tuple(compiled.get_property("EXECUTION_DEVICES"))
        self.missed_devices = runtime.missed(self.execution_devices)  # those tried in vain before these
        self.warnings = (*opened.warnings, *self._shortfalls(runtime))
        self.is_from_cache = bool(compiled.get_property("LOADED_FROM_CACHE"))
        self.facts = ModelFacts(
            self.name, self.version, digest[:12], self.task, ",".join(self.execution_devices), self.precision
        )
        self._compiled: ov.CompiledModel | None = compiled

    def _shortfalls(self, runtime: Runtime) -> Iterator[str]:
        """What was configured and could not be had."""
        if self.missed_devices:
            yield f"runs on {', '.join(self.execution_devices)}, as it cannot on {', '.join(self.missed_devices)}"
        wanted = _PRECISIONS.get(runtime.precision, self.precision)
        if self.precision not in (wanted, "INT8"):
            yield f"runs in {self.precision}: {', '.join(self.execution_devices)} cannot compute in {wanted}"

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
        return Session(self.resolved, self.outputs, _Request(self._compiled))

    def warm_up(self) -> Timings:
        """Analyse a black picture. On one thread alone, before any worker starts: see the rules above."""
        width, height = self.input_size
        return self.session().analyse(image_from_pixels(np.zeros((height, width, 3), np.uint8)))[1]

    def close(self) -> None:
        """Release the compiled model; its memory goes with the last session."""
        self._compiled = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_model(stored: StoredModel, overrides: Mapping[str, Any] | None = None) -> OpenedModel:
    """Read a model and resolve every key of it; `overrides` are keys of `resolution.Overrides`.

    Its files are not checked. Raises ModelRejected (the model is wrong), ModelUnavailable (it could not be read) or
    Invalid (an override is).
    """
    check_release(stored, ov.get_version())
    graph = _read(stored)
    facts = facts_from(graph)
    export = stored.export or export_from_props(below(facts, "framework"), str(stored.path))
    stated = state(stored.manifest, below(facts, "model_info"), overrides or {}, export)
    try:
        picture = _only_input(graph)
        shape = _input_shape(picture, stated)
        _give_shape(graph, shape)
        if shape.channels == 1:
            stated = Stated([(MODEL, {"color": "GRAY"}), *stated.layers])
        outputs = tuple(map(_spec, graph.outputs))
        resolved = resolve(stored.path.name, stated, outputs, shape.size)
    except ModelRejected as rejected:
        raise ModelRejected(f"{stored.path}: {rejected}") from rejected
    told = provenance(stored.manifest, export, {**below(facts, "model_info"), **facts})
    return OpenedModel(stored, graph, picture, outputs, shape, resolved, told, warnings(facts, ov.get_version()))


def ports(stored: StoredModel) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs as the file declares them; raises ModelRejected for a file OpenVINO cannot read."""
    graph = _read(stored)
    return list(map(_spec, graph.inputs)), list(map(_spec, graph.outputs))


def _input_shape(port: TensorSpec, stated: Stated) -> InputShape:
    """The shape for a model whose input is `port`; raises ModelRejected where it stays unclear."""
    if len(port.shape) != 4:
        raise ModelRejected(f"its input {port} is no picture: expected [1, 3, height, width] or [1, height, width, 3]")
    if port.dtype != _DTYPES.get(stated.get("dtype"), port.dtype):
        raise ModelRejected(f"its input {port} is not of the dtype that manifest.yaml says, {stated.get('dtype')}")
    layout = stated.get("layout") or _layout_of(port)
    width, height = stated.get("size") or _size_of(port, layout)
    channels = port.shape[_CHANNELS_AT[layout]]
    return InputShape(layout, (width, height), 1 if channels == 1 else 3)


def _layout_of(port: TensorSpec) -> str:
    for channels in (3, 1):
        layouts = [layout for layout, at in _CHANNELS_AT.items() if port.shape[at] == channels]
        if len(layouts) == 1:
            return layouts[0]
    if any(port.shape[at] in (1, 3, None) for at in _CHANNELS_AT.values()):
        raise ModelRejected(f"its input {port} does not tell NCHW from NHWC; say input.layout")
    raise ModelRejected(f"its input {port} has neither 3 channels nor 1, as a colour or a grey picture has")


def _size_of(port: TensorSpec, layout: str) -> Size:
    height, width = port.shape[2:4] if layout == "NCHW" else port.shape[1:3]
    if not width or not height:
        raise ModelRejected(f"its input {port} has no fixed size; say input.size: [width, height] in manifest.yaml")
    return width, height


class _Request:
    """An infer request that is given its input as a tensor: going through the binding's own conversions costs more than
    the rest of a call."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._pixels: NDArray[np.uint8] | None = None  # the tensor only points at them

    def infer(self, pixels: NDArray[np.uint8]) -> Sequence[NDArray[Any]]:
        self._pixels = pixels
        self._request.set_input_tensor(ov.Tensor(pixels, shared_memory=True))
        answer: tuple[NDArray[Any], ...] = self._request.infer(share_outputs=True).to_tuple()
        return answer


def load_model(
    stored: StoredModel,
    overrides: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Model:
    """Check a version's files, open it, put its preprocessing into the graph and compile it; raises as `open_model`.

    `tell` is called with what is being done. What is compiled already, under whatever name, is not compiled again.
    """
    runtime = runtime or Runtime()
    tell("checking its files")
    digest = stored.verified_digest()
    tell("reading it")
    opened = open_model(stored, overrides)
    resolved = opened.resolved
    same = (digest, opened.shape, resolved.color, resolved.mean, resolved.scale, runtime)
    compiled = _in_use.get(same)
    if compiled is None:
        tell(f"compiling it for {runtime.device}")
        compiled = _in_use[same] = _compiled(opened, digest, runtime)
    return Model(opened, digest, compiled, runtime)


# The same file with the same preprocessing, run the same way, takes its memory once, under all its names. Each holds a
# reference of its own: one that is updated, released or closed leaves the others as they were.
_in_use: WeakValueDictionary[tuple[object, ...], ov.CompiledModel] = WeakValueDictionary()


def digests_in_use() -> set[str]:
    """The digests of the models that are loaded in this process."""
    return {str(digest) for digest, *_ in list(_in_use)}


def _compiled(opened: OpenedModel, digest: str, runtime: Runtime) -> ov.CompiledModel:
    path = opened.stored.path
    try:
        prepared = _prepared(opened)
    except ModelRejected as rejected:
        raise ModelRejected(f"{path}: {rejected}") from rejected
    refusals: list[str] = []
    for one in runtime.choices():
        try:
            return _core().compile_model(prepared, one.device, one.properties(digest, ov.get_version()))
        except RuntimeError as error:
            refusals.append(f"{one.device}: {short_cause(error)}")
            log.warning("%s: cannot run on %s", path, refusals[-1])
    raise ModelUnavailable(f"{path}: cannot run on {'; nor on '.join(refusals)}")


def available_devices() -> list[str]:
    """The devices OpenVINO can use here, such as CPU, GPU.0, NPU."""
    return list(_core().available_devices)


@cache
def _core() -> ov.Core:
    core = ov.Core()
    core.set_property({"ENABLE_MMAP": False})
    return core


def _read(stored: StoredModel) -> ov.Model:
    stored.check_present()
    path = stored.path
    try:
        return _core().read_model(path)
    except RuntimeError as error:
        cause = short_cause(error)
        if cause.startswith("Unable to read the model"):  # then comes a list of its readers, and nothing that is wrong
            cause = "it is damaged, or of another kind than its name says"
        raise ModelRejected(f"{path}: OpenVINO cannot read it: {cause}") from error


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


def _prepared(opened: OpenedModel) -> ov.Model:
    """The graph behind a u8 NHWC BGR input of its own size."""
    resolved, steps = opened.resolved, PrePostProcessor(opened.graph)
    picture = steps.input(0)
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    picture.model().set_layout(ov.Layout(opened.shape.layout))
    if resolved.color != "BGR":
        picture.preprocess().convert_color(ColorFormat.RGB if resolved.color == "RGB" else ColorFormat.GRAY)
    if resolved.mean or resolved.scale:
        picture.preprocess().convert_element_type(ov.Type.f32)
    if resolved.mean:
        picture.preprocess().mean(_by_channel(resolved.mean, opened.shape.channels))
    if resolved.scale:
        picture.preprocess().scale(_by_channel(resolved.scale, opened.shape.channels))
    try:
        return steps.build()
    except RuntimeError as error:
        raise ModelRejected(f"its preprocessing cannot be built: {short_cause(error)}") from error


def _by_channel(values: tuple[float, ...], channels: int) -> list[float]:
    """A number a channel; raises ModelRejected for three numbers where the picture is grey."""
    if len(values) > channels:
        raise ModelRejected("its input is grey: input.mean and input.scale take one number")
    return list(values) * (channels // len(values))


def _computes_in(compiled: ov.CompiledModel) -> str:
    """What the device computes in; for AUTO, what the device that it has chosen does."""
    try:
        return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    except RuntimeError:
        device = compiled.get_property("EXECUTION_DEVICES")[0]
        return str(_core().get_property(device, "INFERENCE_PRECISION_HINT").get_type_name())


def _precision(model: ov.Model, compiled: ov.CompiledModel) -> str:
    """INT8 for a quantised graph, else what the device computes in."""
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return "INT8"
    computed = _computes_in(compiled)
    return _PRECISIONS.get(computed, computed)
