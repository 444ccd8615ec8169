"""`edgex-models bench` and `plan`: two versions side by side."""

from pathlib import Path

import openvino as ov
import pytest

from benchmarks.detectors import FP32, INT8, build_detector
from tests.app.cli_rig import INFO, BuildModel, Run, open_command, said, write_red


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def run(models: Path) -> Run:
    return open_command(models)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write_red(tmp_path)


@pytest.mark.goal(46)
def test_two_versions_are_measured_side_by_side(build_mean_color: BuildModel, run: Run, red: Path) -> None:
    path = build_mean_color(info=INFO, name="source/gauge")
    for version in ("1.0.0", "1.1.0"):
        run("add", path, "--version", version)
    words = ("bench", "gauge@1.0.0", "gauge@1.1.0", "--seconds", "0.1", "--pictures", red.parent)
    found = said(run(*words, "--json"))
    assert [it["version"] for it in found["costs"]] == ["1.0.0", "1.1.0"]
    assert found["agreement"] == 1.0
    assert found["sizeRatio"] == 1.0
    assert found["speedRatio"] > 0
    text = run(*words).stdout
    assert "frames/s" in text
    assert "agreement 1.000 on 1 pictures" in text
    assert "no pictures" in run("bench", "gauge", "--pictures", red.parent / "nowhere", code=1).stderr


@pytest.mark.goal(50)
def test_a_plan_without_a_running_system_compares_two_versions(build_mean_color: BuildModel, run: Run) -> None:
    run("add", build_mean_color(info=INFO, name="a/gauge"))
    run("add", build_mean_color(info={**INFO, "labels": "green blue red"}, name="b/gauge"), "--version", "1.1.0")
    plan = said(run("plan", "gauge@1.1.0", "--against", "1.0.0", "--strategy", "canary", "--json"))
    assert plan["steps"] == ["RESOLVE", "VERIFY", "LOAD", "SELFTEST", "CANARY", "SWITCH", "OBSERVE", "COMMIT", "IDLE"]
    assert plan["changes"][0]["text"].startswith("label 0 is 'green', 'blue' is expected")
    assert plan["cost"]["memoryMb"] > 0
    text = run("plan", "gauge@1.1.0", "--against", "1.0.0", "--no-measure").stdout
    assert "holds the update: label 0 is 'green'" in text
    assert said(run("plan", "gauge@1.0.0", "--against", "1.0.0", "--no-measure", "--json"))["steps"] == []


@pytest.mark.goal(46)
@pytest.mark.timeout(90)
def test_a_quantised_version_is_held_against_the_one_it_was_made_from(models: Path, run: Run, red: Path) -> None:
    for version, precision in (("1.0.0", FP32), ("1.1.0", INT8)):
        folder = models / "ssdlite" / version
        folder.mkdir(parents=True)
        ov.save_model(build_detector(precision), folder / "model.xml")
    words = ("bench", "ssdlite@1.0.0", "ssdlite@1.1.0", "--seconds", "0.5", "--pictures", red.parent, "--json")
    found = said(run(*words))
    full, small = found["costs"]
    assert (full["precision"], small["precision"]) == ("FP32", "INT8")
    assert found["agreement"] > 0.9
    assert found["speedRatio"] == pytest.approx(small["framesPerSecond"] / full["framesPerSecond"], abs=0.01)
    assert found["sizeRatio"] == pytest.approx(small["bytes"] / full["bytes"], abs=0.01)
