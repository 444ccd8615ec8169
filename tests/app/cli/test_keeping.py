"""`edgex-models alias`, `pin` and `remove`: what versions are called, and which of them stay."""

from pathlib import Path

import pytest
from app_inference.models.repository import Repository

from tests.app.cli_rig import INFO, BuildModel, Run, open_command, said


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def run(models: Path) -> Run:
    return open_command(models)


@pytest.mark.goal(3)
def test_an_alias_stands_for_a_version(build_mean_color: BuildModel, run: Run) -> None:
    for version in ("1.0.0", "1.1.0"):
        run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", version)
    assert "gauge@stable is 1.0.0" in run("alias", "gauge@1.0.0", "stable").stdout
    assert said(run("inspect", "gauge@stable", "--json"))["version"] == "1.0.0"
    assert said(run("inspect", "gauge@^1.0.0", "--json"))["version"] == "1.1.0"
    assert "no alias 'steady'; there are latest, stable" in run("inspect", "gauge@steady", code=1).stderr
    assert "which version?" in run("alias", "gauge", "stable", code=1).stderr


def test_versions_are_pinned_and_removed(build_mean_color: BuildModel, run: Run, models: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", version)
    run("pin", "gauge@1.0.0")
    assert "gauge@1.0.0 is pinned" in run("remove", "gauge@1.0.0", code=1).stderr
    assert [row["state"] for row in said(run("list", "--json"))] == ["", "pinned"]
    run("pin", "gauge@1.0.0", "--off")
    assert "removed" in run("remove", "gauge@1.0.0").stdout
    assert Repository(models).versions("gauge") == ["1.1.0"]
    assert "which version? say gauge@1.2.3" in run("remove", "gauge", code=1).stderr


@pytest.mark.goal(3)
def test_an_alias_is_deleted_and_the_version_stays(build_mean_color: BuildModel, run: Run, models: Path) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"))
    run("alias", "gauge@1.0.0", "stable")
    assert "gauge@stable is 1.0.0, not 1.1.0" in run("alias", "gauge@1.1.0", "stable", "--delete", code=1).stderr
    done = run("alias", "gauge", "stable", "--delete")
    assert done.stdout == "gauge@stable is deleted; it was 1.0.0\n"
    assert "whether gauge@stable is wished is not known: core-keeper" in done.stderr
    assert "whether a pipeline names gauge@stable is not known: app-inference" in done.stderr
    assert Repository(models).aliases("gauge") == {}
    assert "no alias 'stable'" in run("inspect", "gauge@stable", code=1).stderr
    run("remove", "gauge@1.0.0")


def test_an_alias_that_is_none_is_not_deleted(build_mean_color: BuildModel, run: Run) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"))
    run("alias", "gauge@1.0.0", "stable")
    for name, alias, there in (("gauge", "steady", "stable"), ("gauge", "latest", "stable"), ("nobody", "x", "none")):
        refused = run("alias", name, alias, "--delete", code=1).stderr
        assert f"no alias '{alias}' of model '{name}'" in refused
        assert refused.endswith(f"there are {there}\n")
