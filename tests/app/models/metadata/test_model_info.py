"""What tools left in a model's file."""

from collections.abc import Callable
from pathlib import Path

import openvino as ov
from app_inference.models.metadata.model_info import below, facts_from

BuildModel = Callable[..., Path]


def graph(path: Path) -> ov.Model:
    return ov.Core().read_model(path)


def test_texts_of_a_section_are_named_by_it(build_mean_color: BuildModel) -> None:
    facts = facts_from(graph(build_mean_color(info={"model_type": "label", "labels": "a b"})))
    assert below(facts, "model_info") == {"model_type": "label", "labels": "a b"}
    assert facts["made_with"].startswith("20")


def test_the_sections_that_onnx_writes_with_a_space_are_sections_too(build_onnx: BuildModel) -> None:
    facts = facts_from(graph(build_onnx({"model_info labels": "a b", "author": "me"})))
    assert facts["model_info/labels"] == "a b"
    assert facts["framework/author"] == "me"


def test_a_file_nobody_left_anything_in_has_no_section(build_mean_color: BuildModel) -> None:
    assert below(facts_from(graph(build_mean_color())), "model_info") == {}
