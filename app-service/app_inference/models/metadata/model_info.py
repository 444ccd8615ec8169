"""What tools left in a model's file beside its graph: OpenVINO's rt_info, and in it ONNX's own properties. Pure.

`rt_info/model_info` is written by Ultralytics, OTX, Geti, anomalib and Open Model Zoo: every value is a string, lists
are separated by spaces, and a label's own spaces became underscores.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from app_inference.errors import ModelRejected
from app_inference.vision.resize import RESIZE_KINDS

Read = Callable[[str], Any]

# Geti puts this before the labels of instance segmentation, whose class 0 is then the second label.
_NO_LABEL = "otx_empty_lbl"


class Graph(Protocol):
    """A model as OpenVINO has read it, as far as it is asked here."""

    def has_rt_info(self, path: str) -> bool: ...

    def get_rt_info(self, path: str) -> Any: ...


def facts_from(graph: Graph) -> dict[str, str]:
    """Every text as `section/key`: `model_info`, `nncf`, and ONNX's own properties; `made_with` is the OpenVINO that
    wrote the file."""
    facts = {}
    for section in ("model_info", "framework", "nncf"):
        if graph.has_rt_info(section):
            facts.update({f"{section}/{key}": text for key, text in _texts(graph.get_rt_info(section).value)})
    for key in ("OpenVINO Runtime", "Runtime_version"):  # the second is what older ones said
        if graph.has_rt_info(key):
            facts.setdefault("made_with", str(graph.get_rt_info(key).value))
    # ONNX has no sections: its properties are called "model_info labels", and OpenVINO keeps them under `framework`.
    onnx = {key.replace(" ", "/", 1): text for key, text in below(facts, "framework").items() if " " in key}
    return {**onnx, **facts}


def below(facts: Mapping[str, str], section: str) -> dict[str, str]:
    """The facts of one section, by their key in it."""
    return {key.removeprefix(f"{section}/"): text for key, text in facts.items() if key.startswith(f"{section}/")}


def _texts(section: Any) -> list[tuple[str, str]]:
    """The texts of a section; a section inside it is left out."""
    return [(key, text) for key, text in section.items() if isinstance(text, str)] if hasattr(section, "items") else []


def settings(model_info: Mapping[str, str]) -> dict[str, Any]:
    """Our keys for those of `model_info` that we use; raises ModelRejected for a value that cannot be."""
    stated: dict[str, Any] = {}
    for key, (ours, read) in _KEYS.items():
        text = model_info.get(key, "").strip()
        if text and text != "None":
            stated[ours] = _read(key, text, read)
    if "labels" in stated:
        stated["labels"] = _spaced(stated["labels"], model_info.get("label_info", ""))
    if _truth(model_info.get("embedded_processing", "")):
        stated.update(_embedded(model_info))
    return stated


def _spaced(labels: list[str], label_info: str) -> list[str]:
    """The labels with their own spaces, where OTX's `label_info` still has them."""
    try:
        names = json.loads(label_info)["label_names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return labels
    is_same = isinstance(names, list) and [str(name).replace(" ", "_") for name in names] == labels
    return list(map(str, names)) if is_same else labels


def _embedded(model_info: Mapping[str, str]) -> dict[str, Any]:
    """A graph that prepares the picture itself: fed at its inner size, its own resize has nothing to do."""
    sides = tuple(_read(key, model_info.get(key, ""), int) for key in ("orig_width", "orig_height"))
    return {"color": "BGR", "mean": [], "scale": [], **({"size": sides} if all(sides) else {})}


def _read(key: str, text: str, read: Read) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ModelRejected(f"model_info/{key} is {text[:80]!r}: {error}") from error


def _truth(text: str) -> bool:
    return text.strip().lower() in ("true", "yes", "1")


def _words(text: str) -> list[str]:
    words = text.split()
    return words[1:] if words[0] == _NO_LABEL else words


def _numbers(text: str) -> list[float]:
    numbers = [float(word) for word in text.split()]
    if len(numbers) not in (1, 3):
        raise ValueError("expected one number or three")
    return numbers


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError("expected a number from 0 to 1")
    return share


def _resize(text: str) -> str:
    if text not in RESIZE_KINDS:
        raise ValueError(f"expected one of {', '.join(RESIZE_KINDS)}")
    return text


def _color(text: str) -> str:
    if text.upper() not in ("RGB", "BGR"):
        raise ValueError("expected RGB or BGR")
    return text.upper()


def _color_from_swap(text: str) -> str:
    """`reverse_input_channels`: the input is BGR and the model wants RGB."""
    return "RGB" if _truth(text) else "BGR"


_KEYS: dict[str, tuple[str, Read]] = {
    "model_type": ("type", str),
    "labels": ("labels", _words),
    "resize_type": ("resize", _resize),
    "pad_value": ("pad", int),
    "mean_values": ("mean", _numbers),
    "scale_values": ("scale", _numbers),
    "reverse_input_channels": ("color", _color_from_swap),
    "color_space": ("color", _color),
    "confidence_threshold": ("confidence", _share),
    "iou_threshold": ("iou", _share),
    "agnostic_nms": ("agnostic_nms", _truth),
    "topk": ("top_k", int),
    "multilabel": ("multilabel", _truth),
    "image_threshold": ("image_threshold", float),
    "pixel_threshold": ("pixel_threshold", float),
    "normalization_scale": ("normalization_scale", float),
}
