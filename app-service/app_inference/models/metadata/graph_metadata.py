"""What tools left in a model's file beside its graph: OpenVINO's rt_info, and in it ONNX's own properties. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol


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
