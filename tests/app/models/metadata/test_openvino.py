"""Which OpenVINO a model was made for."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from app_inference.errors import ModelRejected
from app_inference.models.metadata.openvino import check_release, release_of, warnings
from app_inference.models.repository import stored_model

BuildModel = Callable[..., Path]

OURS = "2026.4.1-22982-e213"


def test_a_release_is_its_numbers_without_the_build() -> None:
    assert release_of(OURS) == (2026, 4, 1)
    assert release_of("") == ()


@pytest.mark.parametrize(("theirs", "count"), [("2026.4.0-1", 0), ("2024.3.0", 1), ("", 0)])
def test_an_int8_graph_of_another_release_is_worth_a_warning(theirs: str, count: int) -> None:
    facts = {"nncf/version": "2.13.0", "made_with": theirs}
    assert len(warnings(facts, OURS)) == count
    assert warnings({"made_with": theirs}, OURS) == ()


@pytest.mark.parametrize(
    ("asked", "is_refused"),
    [
        ("license: MIT", False),
        ("min_openvino: '2026.4'", False),
        ("min_openvino: '2026.5'", True),
        ("max_openvino: '2026'", False),
        ("max_openvino: '2026.3'", True),
    ],
)
def test_a_manifest_may_ask_for_a_release(build_mean_color: BuildModel, asked: str, is_refused: bool) -> None:
    path = build_mean_color()
    facts = f"schema: vision.model/1\nname: model\nversion: '1'\ntype: classification\n{asked}\n"
    (path.parent / "manifest.yaml").write_text(facts, encoding="utf-8")
    refused = pytest.raises(ModelRejected, match=r"this is 2026\.4\.1")
    with refused if is_refused else contextlib.nullcontext():
        check_release(stored_model(path), OURS)
