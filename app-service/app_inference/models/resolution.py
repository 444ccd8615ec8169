"""All that is known of a model in one value. For each key the first of these that has it decides:
the operator's override, the manifest, an export's own metadata, OpenVINO's `model_info` in the file, the model itself,
its type's defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec
from edgex_kit.wire.errors import Invalid

from app_inference.decoders import DECODERS, DecodeOptions, Decoder, TensorSpec, normalise
from app_inference.errors import ModelRejected
from app_inference.models.manifest import Channels, Color, Layout, Manifest, Resize, Thresholds
from app_inference.models.metadata import model_info as info
from app_inference.models.metadata.exports import Export
from app_inference.vision.image import Size
from app_inference.vision.resize import LETTERBOX, WINDOW

OVERRIDE, MANIFEST, MODEL_INFO, MODEL, DEFAULT = "override", "manifest", "model_info", "model", "default"
_OPTIONS = frozenset(field.name for field in fields(DecodeOptions))


class Overrides(Thresholds, frozen=True):
    """Every key an operator may override, checked like a manifest's."""

    type: str | None = None
    labels: list[str] | None = None
    label_offset: int | None = None
    size: tuple[int, int] | None = None
    layout: Layout | None = None
    color: Color | None = None
    resize: Resize | None = None
    pad: int | None = None
    mean: Channels | None = None
    scale: Channels | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """Settings by where they were stated, the strongest first."""

    layers: Sequence[tuple[str, Mapping[str, Any]]]

    def get(self, key: str, default: Any = None) -> Any:
        """What the strongest layer says."""
        return next((layer[key] for _, layer in self.layers if key in layer), default)

    def origin(self, key: str) -> str:
        """Which layer says it; the model itself where none does."""
        return next((name for name, layer in self.layers if key in layer), MODEL)

    def keys(self) -> set[str]:
        """What is stated at all."""
        return {key for _, layer in self.layers for key in layer}


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What to do with a model's input and outputs."""

    decoder: Decoder
    labels: tuple[str, ...]
    size: Size  # width, height of the input
    color: str  # of the input
    resize: str
    pad: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    options: DecodeOptions
    origins: Mapping[str, str]  # key -> who decided it

    def values(self) -> dict[str, Any]:
        """Every settled key with its value, as `origins` names them."""
        own = {
            "type": self.decoder.type,
            "task": self.decoder.task,
            **{key: getattr(self, key) for key in ("labels", "size", "color", "resize", "pad", "mean", "scale")},
        }
        return {**own, **asdict(self.options)}

    @property
    def keeps_ratio(self) -> bool:
        """Whether the whole picture lies in the input in its own ratio; `image_from_jpeg` may then decode less."""
        return self.resize in (WINDOW, LETTERBOX)

    def label(self, class_id: int) -> str:
        """The name of a class; its number where the labels do not reach."""
        return self.labels[class_id] if 0 <= class_id < len(self.labels) else str(class_id)


def state(
    manifest: Manifest | None,
    model_info: Mapping[str, str],
    overrides: Mapping[str, Any],
    export: Export | None = None,
) -> Stated:
    """The layers, each checked; raises Invalid for an override and ModelRejected for a `model_info` that is wrong."""
    layers = (OVERRIDE, _overridden(overrides)), (MANIFEST, _manifested(manifest))
    exported = [(export.origin, export.settings)] if export else []
    return Stated([*layers, *exported, (MODEL_INFO, info.settings(model_info))])


def resolve(name: str, stated: Stated, outputs: Sequence[TensorSpec], size: Size) -> ResolvedModel:
    """Settle every key for a model with these outputs at an input of `size`; raises ModelRejected."""
    model_type = stated.get("type")
    if not model_type:
        raise ModelRejected(
            f"no model type given for {name}; say one of {', '.join(sorted(DECODERS))} "
            "in manifest.yaml beside the file or with --model-type"
        )
    labels = tuple(stated.get("labels", ()))
    classes = len(labels) + stated.get("label_offset", 0) if labels else 0
    decoder = DECODERS[normalise(model_type, outputs, classes, size)]
    if stated.get("color") == "GRAY" and stated.origin("color") != MODEL:
        raise ModelRejected("color GRAY is for a model whose input has one channel")
    if stated.get("task", decoder.task) != decoder.task:
        raise ModelRejected(f"type {decoder.type} does {decoder.task}, manifest.yaml says task {stated.get('task')}")
    return _settled(decoder, Stated([*stated.layers, (DEFAULT, _defaults(decoder))]), size)


def _settled(decoder: Decoder, stated: Stated, size: Size) -> ResolvedModel:
    return ResolvedModel(
        decoder=decoder,
        labels=tuple(stated.get("labels", ())),
        size=size,
        color=stated.get("color"),
        resize=stated.get("resize"),
        pad=stated.get("pad"),
        mean=tuple(stated.get("mean")),
        scale=tuple(stated.get("scale")),
        options=DecodeOptions(**{name: stated.get(name) for name in _OPTIONS}),
        origins={key: stated.origin(key) for key in sorted(stated.keys() | {"labels", "size"})},
    )


def _overridden(overrides: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _given(msgspec.convert(overrides, Overrides))
    except msgspec.ValidationError as error:
        raise Invalid(f"model override: {error}") from error


def _manifested(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    own = {
        "type": manifest.type,
        "task": manifest.task,
        "labels": manifest.labels,
        "label_offset": manifest.label_offset,
    }
    stated = {**own, **_given(manifest.input), **_given(manifest.thresholds)}
    return {key: value for key, value in stated.items() if value is not None}


def _defaults(decoder: Decoder) -> dict[str, Any]:
    ours = decoder.defaults
    keys = ("resize", "pad", "color", "mean", "scale", *(["labels"] if ours.labels else []))
    return {**{key: getattr(ours, key) for key in keys}, **asdict(ours.options)}


def _given(struct: msgspec.Struct) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(struct).items() if value is not None}
