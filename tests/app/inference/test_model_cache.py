"""The compiled form of a model: taken at the second start, made anew when anything about it changed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from app_inference.inference.model import Runtime, load_model
from app_inference.models.repository import stored_model
from app_inference.vision.detections import Classes

from tests.app.colours import COLORS, loaded, plain

BuildModel = Callable[..., Path]


@pytest.mark.goal(29)
def test_new_weights_under_an_unchanged_graph_are_not_answered_from_the_cache(
    build_saying: BuildModel, tmp_path: Path
) -> None:
    path = build_saying({"logits": np.array([[0.8, 0.2]], np.float32)})
    later = path.with_suffix(".bin").read_bytes()
    path = build_saying({"logits": np.array([[0.9, 0.1]], np.float32)})

    def score() -> tuple[float, bool]:
        model = load_model(stored_model(path), {"type": "classification"}, Runtime(cache_dir=tmp_path / "cache"))
        result, _ = model.session().analyse(plain(COLORS["red"]))
        assert isinstance(result, Classes)
        return round(float(result.scores[0]), 3), model.is_from_cache

    assert score() == (0.9, False)
    assert score() == (0.9, True)
    path.with_suffix(".bin").write_bytes(later)
    assert score() == (0.8, False)


@pytest.mark.goal(41)
def test_a_cache_that_is_a_file_is_done_without(
    build_mean_color: BuildModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    loaded(build_mean_color(), runtime=Runtime(cache_dir=tmp_path / "cache")).warm_up()
    assert "compiled models are not kept" in caplog.text


@pytest.mark.goal(41)
def test_a_second_start_takes_the_compiled_form_and_another_openvino_makes_its_own(
    build_mean_color: BuildModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, runtime = build_mean_color(), Runtime(cache_dir=tmp_path / "cache")
    assert [loaded(path, runtime).is_from_cache for _ in range(3)] == [False, True, True]
    monkeypatch.setattr("app_inference.inference.model.ov.get_version", lambda: "2027.1.0-1-after-an-upgrade")
    assert [loaded(path, runtime).is_from_cache for _ in range(2)] == [False, True]


@pytest.mark.goal(41)
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_compiled_form_that_was_cut_short_is_made_anew(
    build_mean_color: BuildModel, tmp_path: Path, left: float
) -> None:
    path, runtime = build_mean_color(), Runtime(cache_dir=tmp_path / "cache")
    before = loaded(path, runtime).session().analyse(plain(COLORS["red"]))[0]
    for blob in (tmp_path / "cache").rglob("*.blob"):
        blob.write_bytes(blob.read_bytes()[: int(blob.stat().st_size * left)])
    model = loaded(path, runtime)
    assert not model.is_from_cache
    after = model.session().analyse(plain(COLORS["red"]))[0]
    assert isinstance(before, Classes) and isinstance(after, Classes)  # noqa: PT018 - for the type checker
    assert np.array_equal(before.scores, after.scores)


# No file may grow beyond 64 bytes here: the nearest to a full disk that needs no disk.
ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from app_inference.inference.model import Runtime, load_model
from app_inference.models.repository import stored_model
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
runtime = Runtime(cache_dir=Path(sys.argv[2]))
for _ in range(2):
    model = load_model(stored_model(Path(sys.argv[1])), {"type": "classification"}, runtime)
    model.warm_up()
    assert not model.is_from_cache
    del model
"""


@pytest.mark.goal(41)
def test_a_full_disk_costs_the_compiled_form_and_nothing_else(build_mean_color: BuildModel, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(build_mean_color()), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert done.returncode == 0, done.stderr
