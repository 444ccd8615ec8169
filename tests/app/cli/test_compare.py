"""`edgex-models bench` and `plan`: two versions side by side."""

from pathlib import Path

import openvino as ov
import pytest

from benchmarks.detectors import FP32, INT8, build_detector
from tests.app.cli_rig import INFO, BuildModel, Command

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.mark.goal(46)
def test_two_versions_are_measured_side_by_side(build_mean_color: BuildModel, run: Command, red: Path) -> None:
    path = build_mean_color(info=INFO, name="source/gauge")
    for version in ("1.0.0", "1.1.0"):
        run("add", path, "--version", version)
    words = ("bench", "gauge@1.0.0", "gauge@1.1.0", "--seconds", "0.1", "--pictures", red.parent)
    found = run.json(*words)
    assert [it["version"] for it in found["costs"]] == ["1.0.0", "1.1.0"]
    assert (found["agreement"], found["sizeRatio"]) == (1.0, 1.0)
    assert found["speedRatio"] > 0
    assert "agreement 1.000 on 1 pictures" in run(*words).stdout
    run("bench", "gauge", "--pictures", red.parent / "nowhere", code=1)


@pytest.mark.goal(50)
def test_a_plan_without_a_running_system_compares_two_versions(build_mean_color: BuildModel, run: Command) -> None:
    run("add", build_mean_color(info=INFO, name="a/gauge"))
    run("add", build_mean_color(info={**INFO, "labels": "green blue red"}, name="b/gauge"), "--version", "1.1.0")
    plan = run.json("plan", "gauge@1.1.0", "--against", "1.0.0", "--strategy", "canary")
    assert plan["steps"] == ["RESOLVE", "VERIFY", "LOAD", "SELFTEST", "CANARY", "SWITCH", "OBSERVE", "COMMIT", "IDLE"]
    assert [(it["key"], it["holdsTheUpdate"]) for it in plan["changes"]] == [("labels", True)]
    assert plan["cost"]["memoryMb"] > 0
    assert plan["changes"][0]["text"] in run("plan", "gauge@1.1.0", "--against", "1.0.0", "--no-measure").stdout
    assert run.json("plan", "gauge@1.0.0", "--against", "1.0.0", "--no-measure")["steps"] == []


@pytest.mark.goal(46)
def test_a_quantised_version_is_compared_with_its_original(
    models: Path, run: Command, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_PRECISION", "f32")
    for version, precision in (("1.0.0", FP32), ("1.1.0", INT8)):
        folder = models / "ssdlite" / version
        folder.mkdir(parents=True)
        ov.save_model(build_detector(precision), folder / "model.xml")
    words = ("bench", "ssdlite@1.0.0", "ssdlite@1.1.0", "--seconds", "0.5", "--pictures", red.parent)
    found = run.json(*words)
    full, small = found["costs"]
    assert (full["precision"], small["precision"]) == ("FP32", "INT8")
    assert found["agreement"] > 0.9
    assert found["speedRatio"] == pytest.approx(small["framesPerSecond"] / full["framesPerSecond"], abs=0.01)
    assert found["sizeRatio"] == pytest.approx(small["bytes"] / full["bytes"], abs=0.01)
