"""`edgex-models verify`: versions that are complete, damaged, missing or not pulled."""

import json
from pathlib import Path

import pytest

from tests.app.cli_rig import INFO, BuildModel, Command


@pytest.mark.goal(28)
def test_a_flipped_byte_is_found_by_verify_with_exit_code_1(
    build_mean_color: BuildModel, run: Command, models: Path
) -> None:
    for version in ("1.0.0", "1.1.0"):
        run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", version)
    weights = models / "gauge" / "1.0.0" / "gauge.bin"
    weights.chmod(0o644)
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    rows = run.json("verify", code=1)
    assert {row["model"]: row["state"] for row in rows} == {"gauge@1.0.0": "damaged", "gauge@1.1.0": "whole"}
    assert "gauge.bin: sha256 is " in run("verify", "gauge@1.0.0", code=1).stdout
    run("verify", "gauge@1.1.0")


def save_bare(models: Path, name: str, source: str) -> None:
    folder = models / name / "1.0.0"
    folder.mkdir(parents=True)
    text = f"schema: vision.model/1\nname: {name}\nversion: 1.0.0\nfiles:\n  - name: m.xml\n    size: 1\n"
    digest = f"    sha256: {'a' * 64}\n"
    (folder / "manifest.yaml").write_text(text + digest + source, encoding="utf-8")


def test_a_version_without_its_files_keeps_verify_from_none_of_the_others(
    build_mean_color: BuildModel, run: Command, models: Path
) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"))
    save_bare(models, "bare", "")
    rows = run.json("verify", code=1)
    assert {row["model"]: row["state"] for row in rows} == {"bare@1.0.0": "missing", "gauge@1.0.0": "whole"}


def test_a_version_that_was_never_pulled_is_no_damage(run: Command, models: Path) -> None:
    save_bare(models, "offer", "    source: pypi:offer==1.0#offer/m.xml\n")
    (row,) = run.json("verify")
    assert (row["state"], row["about"]) == ("not pulled", "edgex-models pull offer")
    assert run.json("list")[0]["state"] == "not pulled: edgex-models pull offer"


@pytest.mark.parametrize("wanted", ["offer", "offer@1.0.0", "offer@latest"])
def test_one_that_was_never_pulled_is_an_error_when_it_is_named(run: Command, models: Path, wanted: str) -> None:
    save_bare(models, "offer", "    source: pypi:offer==1.0#offer/m.xml\n")
    done = run("verify", wanted, "--json", code=1)
    assert [(row["model"], row["state"]) for row in json.loads(done.stdout)] == [("offer@1.0.0", "not pulled")]
    assert "edgex-models pull offer" in done.stderr


def test_a_model_of_the_catalogue_is_known_before_it_has_a_folder(run: Command) -> None:
    rows = run.json("verify", "blazeface-back", code=1)
    assert [(row["model"], row["state"]) for row in rows] == [("blazeface-back@0.6.0", "not pulled")]
    for wanted in ("blazeface-back@9.0.0", "nobody"):
        assert run("verify", wanted, code=1).stdout == ""


def test_named_models_that_are_missing_do_not_stop_the_others(
    build_mean_color: BuildModel, run: Command, models: Path
) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"))
    save_bare(models, "bare", "")
    rows = run.json("verify", "gauge", "blazeface-back", "bare", code=1)
    assert {row["model"]: row["state"] for row in rows} == {
        "gauge@1.0.0": "whole", "blazeface-back@0.6.0": "not pulled", "bare@1.0.0": "missing",
    }  # fmt: skip


def test_a_version_that_was_never_pulled_beside_one_that_is_here_is_no_error(
    build_mean_color: BuildModel, run: Command, models: Path
) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", "1.1.0")
    save_bare(models, "gauge", "    source: pypi:gauge==1.0#gauge/m.xml\n")
    rows = run.json("verify", "gauge")
    assert {row["model"]: row["state"] for row in rows} == {"gauge@1.1.0": "whole", "gauge@1.0.0": "not pulled"}
    run("verify", "gauge@1.0.0", code=1)
