"""`manifest.yaml`: what a model cannot say of itself. Only schema, name and version are needed, and the type of a model
that does not name it; the rest is optional. Every key is described in docs/reference/manifest.md. Pure."""

import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
import yaml

from app_inference.errors import ModelRejected
from app_inference.models.versions import parse_version

SCHEMA: Literal["vision.model/1"] = "vision.model/1"
FILE_NAME = "manifest.yaml"
MAX_DEPTH = 32  # of flow collections, [...] and {...}
MAX_BYTES = 1 << 20  # of a manifest; more labels than that go into a labels_file

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
Side = Annotated[int, msgspec.Meta(ge=1, le=16384)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=128)]
Task = Literal["detection", "classification", "segmentation", "instance_segmentation", "keypoints", "anomaly"]
Layout = Literal["NCHW", "NHWC"]
Color = Literal["RGB", "BGR", "GRAY"]
Resize = Literal["standard", "fit_to_window", "fit_to_window_letterbox", "crop"]
Channels = Annotated[list[float], msgspec.Meta(min_length=1, max_length=3)]


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a manifest; a key it does not know is a mistake in the file."""


class Input(Struct, frozen=True):
    """The picture the model wants."""

    size: tuple[Side, Side] | None = None  # width, height
    layout: Layout | None = None
    color: Color | None = None
    resize: Resize | None = None
    pad: Byte | None = None
    mean: Channels | None = None  # in the model's colour order; x' = (x - mean) / scale
    scale: Channels | None = None
    dtype: Literal["u8", "f16", "f32"] | None = None  # of the model's own input


class Thresholds(Struct, frozen=True):
    """When a result counts."""

    confidence: Share | None = None
    iou: Share | None = None
    agnostic_nms: bool | None = None
    max_detections: Count | None = None
    top_k: Count | None = None
    box_units: Literal["pixels", "unit"] | None = None
    multilabel: bool | None = None
    image_threshold: float | None = None
    pixel_threshold: float | None = None
    normalization_scale: float | None = None


class File(Struct, frozen=True):
    """One file of the model."""

    name: str  # relative to the manifest
    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=0)]  # bytes
    source: str = ""  # where it can be pulled from


class Golden(Struct, frozen=True):
    """A picture whose result is known."""

    input: str  # relative to the manifest, as `output`
    output: str
    tolerance: Share = 0.01


class Limits(Struct, frozen=True):
    """What a version must keep to on the device it is made for."""

    latency_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None  # 99th percentile
    memory_mb: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Provenance(Struct, frozen=True):
    """Where a version comes from."""

    dataset: str = ""  # it was trained with
    commit: str = ""  # of the training code
    trainer: str = ""  # tool, service or person
    created: str = ""  # date, or date and time
    sbom: str = ""  # where its bill of materials is


class Manifest(Struct, frozen=True):
    """A model version as its maker describes it."""

    schema: Literal["vision.model/1"]
    name: Name
    version: str  # semantic versioning, or one number
    type: str | None = None  # of our decoders, or what the model's maker calls it; None: the model says it itself
    task: Task | None = None  # checked against what the type does
    description: str = ""
    labels: list[str] | None = None
    labels_file: str | None = None  # one label a line, relative to the manifest
    label_offset: Annotated[int, msgspec.Meta(ge=0)] | None = None  # the model's number of the first label
    input: Input = Input()
    thresholds: Thresholds = Thresholds()
    files: list[File] = []
    license: str = ""  # SPDX
    source: str = ""
    provenance: Provenance = Provenance()
    golden: list[Golden] = []
    limits: Limits = Limits()
    min_openvino: str | None = None  # "2025.3"
    max_openvino: str | None = None


def parse_manifest(text: str | bytes, source: str = FILE_NAME) -> Manifest:
    """The manifest in `text`; raises ModelRejected with `source` and the path of what is wrong."""
    document = parse_yaml(text, source) or {}
    if isinstance(document, dict):  # earlier manifests have two keys that nothing read
        document.pop("release", None)
        if isinstance(limits := document.get("limits"), dict):
            limits.pop("error_rate", None)
    try:
        manifest = msgspec.convert(document, Manifest)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ModelRejected(f"{source}: {error}") from error
    complaint = _complaint(manifest)
    if complaint:
        raise ModelRejected(f"{source}: {complaint}")
    return manifest


def parse_yaml(text: str | bytes, source: str) -> Any:
    """The document in `text`; raises ModelRejected with `source` for anything that PyYAML cannot read."""
    if len(text) > MAX_BYTES:
        raise ModelRejected(f"{source}: {len(text)} bytes, at most {MAX_BYTES} are read")
    try:
        if _flow_depth(text) > MAX_DEPTH:  # PyYAML's time grows with its square
            raise RecursionError
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelRejected(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ModelRejected(f"{source}: not YAML we can read: nested too deeply") from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:  # its constructors' own
        raise ModelRejected(f"{source}: not YAML we can read: {str(error)[:200]}") from error


def _flow_depth(text: str | bytes) -> int:
    """How deep brackets are nested, at the most; those in strings count too."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text if isinstance(text, str) else text.decode("latin-1")):
        depth = max(0, depth + (1 if bracket in "[{" else -1))
        deepest = max(deepest, depth)
    return deepest


def manifest_text(manifest: Manifest) -> str:
    """The manifest as `parse_manifest` reads it."""
    return yaml.safe_dump(msgspec.to_builtins(manifest), sort_keys=False, allow_unicode=True, width=120)


def parse_labels(text: str) -> tuple[str, ...]:
    """One label a line; a byte order mark and empty lines at the end are no labels."""
    return tuple(line.strip() for line in text.removeprefix("\ufeff").rstrip().splitlines())


def _complaint(manifest: Manifest) -> str | None:
    """What is wrong with it as a whole; None when nothing is."""
    try:
        parse_version(manifest.version)
    except ModelRejected as error:
        return str(error)
    mean, scale = manifest.input.mean or [], manifest.input.scale or []
    golden = (name for one in manifest.golden for name in (one.input, one.output))
    names = [*(file.name for file in manifest.files), *golden, manifest.labels_file or "labels"]
    outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    unprintable = [name for name in names if not name.isprintable()]
    complaints = (
        (manifest.labels is not None and manifest.labels_file is not None, "labels and labels_file are both given"),
        (2 in (len(mean), len(scale)), "input.mean and input.scale take one number or three"),
        (0 in scale, "input.scale holds a zero"),
        (not all(map(math.isfinite, [*mean, *scale])), "input.mean and input.scale are finite numbers"),
        (bool(outside), f"file {(outside or names)[0]!r} lies outside the model's folder"),
        (bool(unprintable), f"file {(unprintable or names)[0]!r} has control characters in its name"),
    )
    return next((text for is_wrong, text in complaints if is_wrong), None)
