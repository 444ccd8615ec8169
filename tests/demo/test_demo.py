"""The parts of `make run` that start no process."""

from pathlib import Path

import pytest
import yaml

from demo.options import parse_options, split_login, write_cameras
from demo.table import cameras, notes


def row(*seen: tuple[int, str]) -> dict[str, object]:
    """A camera in the status document."""
    found = [{"count": count, "topLabel": label, "topScore": 0.9} for count, label in seen]
    rates = {
        "framesPerSecond": 5.0,
        "resultsPerSecond": 5.0,
        "framesReplaced": 2,
        "dropped": {"Replaced": 2, "Rate": 1},
    }
    return {"name": "street", "seen": found, "latencyMs": {"p50": None, "p99": None}, **rates}


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        ((), "nothing yet"),
        (((0, ""), (0, "")), "no objects"),
        (((0, ""), (2, "person")), "person x2 (0.90)"),
        (((1, "face"), (2, "person")), "face (0.90); person x2 (0.90)"),
    ],
)
def test_the_table_shows_what_each_pipeline_has_found(seen: tuple[tuple[int, str]], shown: str) -> None:
    (shown_row,) = cameras({"cameras": [row(*seen)]})
    assert (shown_row["seen"], shown_row["dropped"]) == (shown, "3")


def test_what_does_not_run_as_configured_is_shown_with_its_reason() -> None:
    pipelines = {
        "gauge": {"state": "failed", "isAtWork": False, "note": "model 'gauge' cannot serve: it does not exist"},
        "people": {"state": "running", "isAtWork": True},
    }
    models = [{"name": "app", "state": "serving", "version": "1.0.0", "reason": "2.0.0 cannot serve: it is damaged"}]
    shown = notes({"pipelineStates": pipelines, "models": [*models, {"name": "face", "state": "preparing"}]})
    assert [text.split()[:2] for text in shown] == [["pipeline", "gauge"], ["model", "app"]]
    assert notes({}) == []


def test_one_camera_has_the_samples_name_and_several_are_numbered() -> None:
    assert parse_options([]).camera_names == ["street"]
    assert parse_options(["--sample", "driver", "--cameras", "3"]).camera_names == ["driver-1", "driver-2", "driver-3"]
    assert parse_options(["--camera", "gate", "--cameras", "2"]).camera_names == ["gate-1", "gate-2"]


@pytest.mark.parametrize("count", ["0", "-1", "1000"])
def test_an_impossible_number_of_cameras_is_refused(count: str) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--cameras", count])


def test_two_runs_beside_each_other_share_models_but_no_state() -> None:
    one, other = parse_options([]), parse_options(["--port-shift", "100"])
    assert one.models == other.models
    assert len({one.folder, other.folder}) == len({one.model_state, other.model_state}) == 2


def test_user_and_password_of_a_source_are_in_no_file(tmp_path: Path) -> None:
    source, login = split_login("rtsp://kim:p%40ss@camera.local:554/stream")
    assert (source, login) == ("rtsp://camera.local:554/stream", ("kim", "p@ss"))
    assert split_login("/dev/video0") == ("/dev/video0", None)
    write_cameras(parse_options(["--folder", str(tmp_path)]), source, login)
    (device,) = yaml.safe_load((tmp_path / "devices/cameras.yaml").read_text())["deviceList"]
    assert device["protocols"]["Camera"] == {"Source": source, "Fps": 5.0, "SecretName": "camera"}
