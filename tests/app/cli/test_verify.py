"""`edgex-models verify`: what is whole, what is not, and what was never there."""

from pathlib import Path

import pytest

from tests.app.cli_rig import INFO, BuildModel, Run, open_command, said


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def run(models: Path) -> Run:
    return open_command(models)


@pytest.mark.goal(28)
def test_a_flipped_byte_is_found_by_verify_with_exit_code_1(
    build_mean_color: BuildModel, run: Run, models: Path
) -> None:
    for version in ("1.0.0", "1.1.0"):
        run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", version)
    weights = models / "gauge" / "1.0.0" / "gauge.bin"
    weights.chmod(0o644)
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    rows = said(run("verify", "--json", code=1))
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
    build_mean_color: BuildModel, run: Run, models: Path
) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"))
    save_bare(models, "bare", "")
    rows = said(run("verify", "--json", code=1))
    assert {row["model"]: row["state"] for row in rows} == {"bare@1.0.0": "missing", "gauge@1.0.0": "whole"}


def test_a_version_that_was_never_pulled_is_no_damage(run: Run, models: Path) -> None:
    save_bare(models, "offer", "    source: pypi:offer==1.0#offer/m.xml\n")
    (row,) = said(run("verify", "--json"))
    assert (row["state"], row["about"]) == ("not pulled", "edgex-models pull offer")
    assert said(run("list", "--json"))[0]["state"] == "not pulled: edgex-models pull offer"


@pytest.mark.parametrize("wanted", ["offer", "offer@1.0.0", "offer@latest"])
def test_one_that_was_never_pulled_is_not_here_when_it_is_asked_for_by_its_name(
    run: Run, models: Path, wanted: str
) -> None:
    save_bare(models, "offer", "    source: pypi:offer==1.0#offer/m.xml\n")
    done = run("verify", wanted, "--json", code=1)
    assert [(row["model"], row["state"]) for row in said(done)] == [("offer@1.0.0", "not pulled")]
    assert done.stderr == "edgex-models: offer@1.0.0 is not pulled yet: edgex-models pull offer\n"


def test_a_model_of_the_catalogue_is_an_offer_before_it_has_a_folder(run: Run) -> None:
    done = run("verify", "blazeface-back", "--json", code=1)
    assert [(row["model"], row["state"]) for row in said(done)] == [("blazeface-back@0.6.0", "not pulled")]
    assert "not pulled yet: edgex-models pull blazeface-back" in done.stderr
    assert "no version '9.0.0'" in run("verify", "blazeface-back@9.0.0", code=1).stderr
    assert "no model 'nobody'" in run("verify", "nobody", code=1).stderr


def test_what_is_there_is_read_when_another_one_that_is_named_is_not(
    build_mean_color: BuildModel, run: Run, models: Path
) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"))
    save_bare(models, "bare", "")
    rows = said(run("verify", "gauge", "blazeface-back", "bare", "--json", code=1))
    assert {row["model"]: row["state"] for row in rows} == {
        "gauge@1.0.0": "whole", "blazeface-back@0.6.0": "not pulled", "bare@1.0.0": "missing",
    }  # fmt: skip


def test_an_offer_beside_a_version_that_is_there_is_only_named(
    build_mean_color: BuildModel, run: Run, models: Path
) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", "1.1.0")
    save_bare(models, "gauge", "    source: pypi:gauge==1.0#gauge/m.xml\n")
    rows = said(run("verify", "gauge", "--json"))
    assert {row["model"]: row["state"] for row in rows} == {"gauge@1.1.0": "whole", "gauge@1.0.0": "not pulled"}
    run("verify", "gauge@1.0.0", code=1)
