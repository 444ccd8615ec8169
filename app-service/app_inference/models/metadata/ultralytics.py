"""`metadata.yaml`, which an Ultralytics export drops beside its model, and the same keys inside an ONNX file. Pure.

It is a better source than the `model_info` of the same export, which calls every task YOLO and has lost the spaces of
the labels. Only the words are read; nothing of Ultralytics is needed, or used.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from app_inference.errors import ModelRejected
from app_inference.models.metadata.exports import Export
from app_inference.vision.resize import CROP

FILE_NAME = "metadata.yaml"
EMBEDDED = "metadata_props"  # of an ONNX file

_TYPES = {
    "detect": "ultralytics_detect",
    "segment": "ultralytics_segment",
    "pose": "ultralytics_pose",
    "classify": "ultralytics_classify",
}
# The export's classifier sees the middle of the picture; for the other tasks `model_info` and the type say it all.
_CLASSIFIER = {"resize": CROP, "color": "RGB", "mean": [], "scale": [255.0]}


def export_from_yaml(text: str | bytes, source: str) -> Export | None:
    """What `metadata.yaml` says; None when it is somebody else's file of that name. Raises ModelRejected."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelRejected(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    return _export(document, FILE_NAME, source) if _is_export(document) else None


def export_from_props(props: Mapping[str, str], source: str) -> Export | None:
    """What an ONNX file's own properties say; None when no such export wrote them. Raises ModelRejected."""
    if not _is_export(props):
        return None
    try:
        document = {key: yaml.safe_load(text) for key, text in props.items() if key in ("names", "imgsz", "task")}
    except yaml.YAMLError as error:
        raise ModelRejected(f"{source}: {EMBEDDED} of no use: {' '.join(str(error).split())}") from error
    return _export({**props, **document}, EMBEDDED, source)


def _is_export(document: Any) -> bool:
    return isinstance(document, Mapping) and {"task", "names", "stride"} <= document.keys()


def _export(document: Mapping[str, Any], origin: str, source: str) -> Export:
    task = document["task"]
    if task not in _TYPES:
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
