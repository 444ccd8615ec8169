"""The parts of `make run`, and of the tutorial about updates, that need no running processes."""

from pathlib import Path

import pytest
from app_inference.models.repository import Repository
from app_inference.models.staging import remove

from demo.audit import facts, reason_of, title_of
from demo.ledger import PATIENCE, Ledger, Page
from demo.options import parse_options
from demo.samples import lend_model
from demo.table import cameras, notes


def row(*seen: tuple[int, str]) -> dict[str, object]:
    """What the status says of a camera."""
    found = [{"count": count, "topLabel": label, "topScore": 0.9} for count, label in seen]
    rates = {"framesPerSecond": 5.0, "resultsPerSecond": 5.0, "framesReplaced": 0, "dropped": {}}
    return {"name": "street", "seen": found, "latencyMs": {"p50": None, "p99": None}, **rates}


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        ((), "nothing yet"),
        (((0, ""),), "nothing"),
        (((0, ""), (0, "")), "nothing"),
        (((0, ""), (2, "person")), "person x2 (0.90)"),
        (((1, "face"), (2, "person")), "face (0.90); person x2 (0.90)"),
    ],
)
def test_the_table_shows_what_pipelines_found_and_not_what_each_did_not(
    seen: tuple[tuple[int, str]], shown: str
) -> None:
    assert cameras({"cameras": [row(*seen)]})[0]["seen"] == shown


def test_what_does_not_run_as_configured_is_told_with_its_reason() -> None:
    pipelines = {
        "faces": {"state": "preparing", "isAtWork": False, "note": "model 'face': compiling it for CPU"},
        "gauge": {"state": "failed", "isAtWork": False, "note": "model 'gauge' cannot serve: it is not there"},
        "people": {"state": "running", "isAtWork": True},
    }
    models = [{"name": "eye", "state": "serving", "version": "1.0.0", "reason": "2.0.0 cannot serve: it is damaged"}]
    assert notes({"pipelineStates": pipelines, "models": [*models, {"name": "face", "state": "preparing"}]}) == [
        "pipeline faces is preparing: model 'face': compiling it for CPU",
        "pipeline gauge is failed: model 'gauge' cannot serve: it is not there",
        "model eye serves with version 1.0.0: 2.0.0 cannot serve: it is damaged",
    ]
    assert notes({}) == []


def test_one_camera_has_the_samples_name_and_several_are_numbered() -> None:
    assert parse_options([]).camera_names == ["street"]
    assert parse_options(["--sample", "driver", "--cameras", "3"]).camera_names == ["driver-1", "driver-2", "driver-3"]
    assert parse_options(["--camera", "gate", "--cameras", "2"]).camera_names == ["gate-1", "gate-2"]


@pytest.mark.parametrize("cameras", ["0", "-1", "1000"])
def test_a_number_of_cameras_that_cannot_be_is_refused(cameras: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--cameras", cameras])
    assert "1 to 64 expected" in capsys.readouterr().err


def test_versions_added_to_a_run_do_not_come_into_the_cache_and_its_folder_can_be_removed(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "models" / "eye" / "1.0.0"
    kept.mkdir(parents=True)
    (kept / "model.xml").write_text("a network")
    kept.chmod(0o555)
    lend_model("eye@1.0.0", tmp_path / "cache", tmp_path / "run" / "models")
    lent = tmp_path / "run" / "models" / "eye"
    assert (lent / "1.0.0" / "model.xml").read_text() == "a network"
    (lent / "2.0.0").mkdir()
    assert Repository(tmp_path / "cache" / "models").versions("eye") == ["1.0.0"]
    remove(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert (kept / "model.xml").read_text() == "a network"


def test_a_model_that_is_a_file_is_not_lent(tmp_path: Path) -> None:
    lend_model("/srv/detector.onnx", tmp_path / "cache", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def ledger_of(*steps: tuple[str, int] | tuple[str, int, int]) -> Page:
    """One camera's frames and results, each with its seq, a result with how many it says were dropped; a second apart
    from a ledger that is closed long after."""
    ledger = Ledger("all", 0.0)
    for now, (kind, seq, *dropped) in enumerate(steps):
        if kind == "frame":
            ledger.frame("gate", seq, now / 100)
        else:
            ledger.result("gate", seq, "1.0.0", *(dropped or [0]), latency_ms=10.0 * (now + 1), now=now / 100)
    ledger.turn("end", 1.0)
    return ledger.close(2 * PATIENCE)[0]


def counts(page: Page) -> tuple[int, ...]:
    return page.frames, page.results, page.dropped, page.lost, page.twice, page.disordered


def test_a_frame_with_its_result_is_in_order() -> None:
    page = ledger_of(("frame", 1), ("result", 1), ("frame", 2), ("result", 2))
    assert counts(page) == (2, 2, 0, 0, 0, 0)
    assert page.is_in_order
    assert facts(page)["latencyMs"] == {"p50": 40.0, "p99": 40.0, "most": 40.0}
    assert facts(page)["versions"] == {"1.0.0": 2}


def test_a_frame_that_a_result_says_was_dropped_is_in_order() -> None:
    page = ledger_of(("frame", 1), ("frame", 2), ("result", 2, 1))
    assert counts(page) == (2, 1, 1, 0, 0, 0)
    assert page.is_in_order


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        ([("frame", 1), ("frame", 2), ("result", 2)], (2, 1, 0, 1, 0, 0)),
        ([("frame", 1), ("result", 1), ("frame", 2)], (2, 1, 0, 1, 0, 0)),
        ([("frame", 1), ("result", 1), ("result", 1)], (1, 1, 0, 0, 1, 0)),
        ([("frame", 1), ("frame", 2), ("result", 2), ("result", 1)], (2, 1, 0, 1, 0, 1)),
    ],
    ids=["passed over", "never answered", "answered twice", "out of turn"],
)
def test_what_is_lost_or_twice_or_out_of_turn_is_told(steps: list[tuple[str, int]], counted: tuple[int, ...]) -> None:
    page = ledger_of(*steps)
    assert counts(page) == counted
    assert not page.is_in_order


def test_results_of_frames_from_before_count_for_nothing() -> None:
    page = ledger_of(("result", 7, 3), ("frame", 8), ("result", 8))
    assert counts(page) == (1, 1, 0, 0, 0, 0)
    assert page.is_in_order


def test_a_frame_belongs_to_the_page_it_came_on_and_the_page_waits_for_its_result() -> None:
    ledger = Ledger("before", 0.0)
    ledger.frame("gate", 1, 0.0)
    ledger.turn("after", 0.5)
    assert ledger.close(0.6) == []
    ledger.result("gate", 1, "2.0.0", 0, 600.0, 0.6)
    assert [(page.title, page.results) for page in ledger.close(0.7)] == [("before", 1)]


def test_the_end_counts_no_frame_that_is_still_under_way() -> None:
    ledger = Ledger("all", 0.0)
    ledger.frame("gate", 1, 0.0)
    ledger.result("gate", 1, "1.0.0", 0, 5.0, 0.1)
    ledger.frame("gate", 2, 0.2)
    assert [counts(page) for page in ledger.end(0.3)] == [(1, 1, 0, 0, 0, 0)]


def test_the_longest_pause_between_two_results_is_a_cameras_own() -> None:
    ledger = Ledger("all", 0.0)
    for camera, now in (("a", 0.0), ("b", 0.3), ("a", 0.4), ("b", 0.5)):
        ledger.frame(camera, round(now * 10), now)
        ledger.result(camera, round(now * 10), "1.0.0", 0, 1.0, now)
    assert round(ledger.pages[0].pause_ms) == 400


def test_what_goes_on_is_told_in_words() -> None:
    assert title_of({}, "1.0.0") == "1.0.0 serves"
    assert title_of({"state": "LOAD"}, "1.0.0") == "another is prepared"
    assert title_of({"state": "CANARY", "candidate": {"version": "2.0.0"}}, "1.0.0") == "2.0.0 beside 1.0.0"
    assert title_of({"state": "OBSERVE", "candidate": {"version": "2.0.0"}}, "2.0.0") == "2.0.0 is observed"
    assert reason_of({"state": "OBSERVE", "reason": "3 of 200 frames"}) == ""
    assert reason_of({"state": "IDLE"}) == ""
    back = {"state": "IDLE", "refused": "2.0.0", "reason": "finds nothing"}
    assert reason_of(back) == "2.0.0: finds nothing"
