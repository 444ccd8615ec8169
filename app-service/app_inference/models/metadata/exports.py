"""What a model's producer says of it in a file beside it, or in the model's own properties. Pure.

* `metadata.yaml`, which an Ultralytics export writes beside its model, and the same keys inside an ONNX file: better
  than the `model_info` of the same export, which calls every task YOLO and has lost the spaces of the labels.
* Triton's `config.pbtxt`: the input's size and layout, and the label file. It is text protocol buffers:
  `key: value`, `key { ... }` and `key [ ..., ... ]`. What concerns Triton's own scheduling is ignored.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app_inference.errors import ModelRejected
from app_inference.models.manifest import parse_labels, parse_yaml
from app_inference.vision.resize import CROP

ULTRALYTICS_FILE = "metadata.yaml"
TRITON_FILE = "config.pbtxt"
EMBEDDED = "metadata_props"  # of an ONNX file

_TYPES = {
    "detect": "ultralytics_detect",
    "segment": "ultralytics_segment",
    "pose": "ultralytics_pose",
    "classify": "ultralytics_classify",
}
# The export's classifier sees the middle of the picture; for the other tasks `model_info` and the type say it all.
_CLASSIFIER = {"resize": CROP, "color": "RGB", "mean": [], "scale": [255.0]}

_TOKEN = re.compile(r'\s+|\#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[\w.+-]+)|(?P<mark>[{}\[\]:,;])')
_TRITON_LAYOUTS = {"FORMAT_NCHW": "NCHW", "FORMAT_NHWC": "NHWC"}
_DEEPEST = 32

Message = dict[str, list[Any]]  # every key with all its values


@dataclass(frozen=True, slots=True)
class Export:
    """A producer's words in our keys; weaker than a manifest, stronger than `model_info`."""

    origin: str  # the name of the file that says it
    settings: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    trainer: str = ""
    created: str = ""
    description: str = ""


def export_from_yaml(text: str | bytes, source: str) -> Export | None:
    """What `metadata.yaml` says; None when it is somebody else's file of that name. Raises ModelRejected."""
    document = parse_yaml(text, source)
    return _export(document, ULTRALYTICS_FILE, source) if _is_export(document) else None


def export_from_props(props: Mapping[str, str], source: str) -> Export | None:
    """What an ONNX file's own properties say; None when no such export wrote them. Raises ModelRejected."""
    if not _is_export(props):
        return None
    keys = [key for key in ("names", "imgsz", "task") if key in props]
    document = {key: parse_yaml(props[key], f"{source}: {EMBEDDED} {key}") for key in keys}
    return _export({**props, **document}, EMBEDDED, source)


def _is_export(document: Any) -> bool:
    return isinstance(document, Mapping) and {"task", "names", "stride"} <= document.keys()


def _export(document: Mapping[str, Any], origin: str, source: str) -> Export:
    task = document["task"]
    if not isinstance(task, str) or task not in _TYPES:
        raise ModelRejected(f"{source}: {origin} says task {task!r}; known are {', '.join(_TYPES)}")
    stated: dict[str, Any] = {"type": _TYPES[task], "labels": _labels(document["names"], source)}
    sides = document.get("imgsz")
    if isinstance(sides, list) and len(sides) == 2 and all(isinstance(side, int) for side in sides):
        stated["size"] = (sides[1], sides[0])  # it says height, width
    if task == "classify":
        stated.update(_CLASSIFIER)
    tool = " ".join(filter(None, (str(document.get("author", "")), str(document.get("version", "")))))
    return Export(
        origin=origin,
        settings=stated,
        license=str(document.get("license", "")),
        trainer=tool,
        created=str(document.get("date", "")),
        description=str(document.get("description", "")),
    )


def _labels(names: Any, source: str) -> list[str]:
    """From a list, or a mapping of 0, 1, 2, ... to names."""
    if isinstance(names, Mapping) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        return [str(names[number]) for number in range(len(names))]
    if isinstance(names, list):
        return list(map(str, names))
    raise ModelRejected(f"{source}: names are neither a list nor numbered from 0: {str(names)[:80]}")


def export_from_config(text: str, path: Path) -> Export:
    """What `config.pbtxt` at `path` says of the model; raises ModelRejected."""
    try:
        config = parse_pbtxt(text)
    except ValueError as error:
        raise ModelRejected(f"{path}: {error}") from error
    return Export(TRITON_FILE, {**_picture(config), **_triton_labels(config, path)})


def parse_pbtxt(text: str) -> Message:
    """A message of text protocol buffers; raises ValueError with what is wrong."""
    return _message([*_tokens(text), "}"][::-1], 0)


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: {text[at : at + 20]!r} is not understood")
        if match.lastgroup and match[0] not in ",;:":
            yield match[0]
        at = match.end()


def _message(rest: list[str], depth: int) -> Message:
    """Up to its closing brace; `rest` holds the tokens backwards and is used up."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    found: Message = {}
    while rest and (key := rest.pop()) != "}":
        found.setdefault(key, []).extend(_values(rest, depth))
    return found


def _values(rest: list[str], depth: int) -> list[Any]:
    if not rest:
        raise ValueError("it ends in the middle")
    word = rest.pop()
    if word == "{":
        return [_message(rest, depth + 1)]
    if word != "[":
        return [word.strip('"')]
    listed: list[Any] = []
    while rest and rest[-1] != "]":
        listed += _values(rest, depth + 1)
    if not rest:
        raise ValueError("a list is not closed")
    rest.pop()
    return listed


def _picture(config: Message) -> dict[str, Any]:
    inputs = config.get("input", [])
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        return {}
    layout = _TRITON_LAYOUTS.get(inputs[0].get("format", [""])[0])
    if layout is None:
        return {}
    sides = [int(side) if re.fullmatch(r"[0-9]{1,5}", str(side)) else 0 for side in inputs[0].get("dims", [])][-3:]
    if len(sides) != 3 or not all(sides):
        return {"layout": layout}
    height, width = sides[1:] if layout == "NCHW" else sides[:2]
    return {"layout": layout, "size": (width, height)}


def _triton_labels(config: Message, path: Path) -> dict[str, Any]:
    outputs = (output for output in config.get("output", []) if isinstance(output, dict))
    names = [name for output in outputs for name in output.get("label_filename", [])]
    if not names:
        return {}
    file = path.parent / Path(str(names[0])).name
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise ModelRejected(f"{path}: its label_filename {file.name} is a link out of the model's folder")
    try:
        return {"labels": list(parse_labels(file.read_text(encoding="utf-8")))}
    except (OSError, UnicodeDecodeError) as error:
        raise ModelRejected(f"{path}: its label_filename {file.name} cannot be read") from error
