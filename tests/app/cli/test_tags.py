"""`edgex-models alias`, `pin` and `remove`."""

from pathlib import Path

import pytest
from app_inference.models.repository import Repository

from tests.app.cli_rig import INFO, BuildModel, Command


@pytest.fixture(autouse=True)
def two_versions(build_mean_color: BuildModel, run: Command) -> None:
    for version in ("1.0.0", "1.1.0"):
        run("add", build_mean_color(info=INFO, name="source/gauge"), "--version", version)


@pytest.mark.goal(3)
def test_an_alias_stands_for_a_version(run: Command) -> None:
    run("alias", "gauge@1.0.0", "stable")
    assert run.json("inspect", "gauge@stable")["version"] == "1.0.0"
    assert run.json("inspect", "gauge@^1.0.0")["version"] == "1.1.0"
    assert "latest, stable" in run("inspect", "gauge@steady", code=1).stderr
    run("alias", "gauge", "stable", code=1)


def test_versions_are_pinned_and_removed(run: Command, models: Path) -> None:
    run("pin", "gauge@1.0.0")
    run("remove", "gauge@1.0.0", code=1)
    assert [row["state"] for row in run.json("list")] == ["", "pinned"]
    run("pin", "gauge@1.0.0", "--off")
    run("remove", "gauge@1.0.0")
    assert Repository(models).versions("gauge") == ["1.1.0"]
    run("remove", "gauge", code=1)


@pytest.mark.goal(3)
def test_an_alias_is_deleted_and_the_version_stays(run: Command, models: Path) -> None:
    run("alias", "gauge@1.0.0", "stable")
    run("alias", "gauge@1.1.0", "stable", "--delete", code=1)  # it stands for another version
    done = run("alias", "gauge", "stable", "--delete")
    assert all(name in done.stderr for name in ("core-keeper", "app-inference")), "nobody says whether it is in use"
    assert Repository(models).aliases("gauge") == {}
    run("inspect", "gauge@stable", code=1)
    run("remove", "gauge@1.0.0")


@pytest.mark.parametrize(
    ("name", "alias", "known"), [("gauge", "steady", "stable"), ("gauge", "latest", "stable"), ("nobody", "x", "none")]
)
def test_an_alias_that_does_not_exist_is_not_deleted(run: Command, name: str, alias: str, known: str) -> None:
    run("alias", "gauge@1.0.0", "stable")
    assert f"there are {known}" in run("alias", name, alias, "--delete", code=1).stderr
