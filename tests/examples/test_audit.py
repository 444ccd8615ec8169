"""The audit of the tutorial on updates counts every frame."""

import pytest

from examples.tutorial.audit import PATIENCE, Accounting, Phase, facts, reason_of, title_of


def phase_of(*steps: tuple[str, int] | tuple[str, int, int]) -> Phase:
    """Frames and results of one camera, 10 ms apart, each with its seq, a result with the drops that it reports."""
    accounting = Accounting("all", 0.0)
    for now, (kind, seq, *dropped) in enumerate(steps):
        if kind == "frame":
            accounting.frame("gate", seq, now / 100)
        else:
            accounting.result("gate", seq, "1.0.0", *(dropped or [0]), latency_ms=10.0 * (now + 1), now=now / 100)
    accounting.enter("end", 1.0)
    return accounting.close(2 * PATIENCE)[0]


def counts(phase: Phase) -> tuple[int, ...]:
    return phase.frames, phase.results, phase.dropped, phase.lost, phase.twice, phase.late


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        ([("frame", 1), ("result", 1), ("frame", 2), ("result", 2)], (2, 2, 0, 0, 0, 0)),
        ([("frame", 1), ("frame", 2), ("result", 2, 1)], (2, 1, 1, 0, 0, 0)),
        ([("result", 7, 3), ("frame", 8), ("result", 8)], (1, 1, 0, 0, 0, 0)),
        ([("frame", 1), ("frame", 2), ("result", 2)], (2, 1, 0, 1, 0, 0)),
        ([("frame", 1), ("result", 1), ("frame", 2)], (2, 1, 0, 1, 0, 0)),
        ([("frame", 1), ("result", 1), ("result", 1)], (1, 1, 0, 0, 1, 0)),
        ([("frame", 1), ("frame", 2), ("result", 2), ("result", 1)], (2, 1, 0, 1, 0, 1)),
    ],
    ids=["in order", "reported as dropped", "from before", "skipped", "without result", "two results", "late"],
)
def test_every_frame_is_accounted_for(steps: list[tuple[str, int]], counted: tuple[int, ...]) -> None:
    phase = phase_of(*steps)
    assert counts(phase) == counted
    assert phase.is_in_order == (not any(counted[3:]))


def test_facts_hold_latency_and_versions() -> None:
    found = facts(phase_of(("frame", 1), ("result", 1), ("frame", 2), ("result", 2)))
    assert found["latencyMs"] == {"p50": 40.0, "p99": 40.0, "most": 40.0}
    assert found["versions"] == {"1.0.0": 2}


def test_a_frame_belongs_to_the_phase_in_which_it_came() -> None:
    accounting = Accounting("before", 0.0)
    accounting.frame("gate", 1, 0.0)
    accounting.enter("after", 0.5)
    assert accounting.close(0.6) == []
    accounting.result("gate", 1, "2.0.0", 0, 600.0, 0.6)
    assert [(phase.title, phase.results) for phase in accounting.close(0.7)] == [("before", 1)]


def test_frames_that_still_wait_at_the_end_are_not_counted() -> None:
    accounting = Accounting("all", 0.0)
    accounting.frame("gate", 1, 0.0)
    accounting.result("gate", 1, "1.0.0", 0, 5.0, 0.1)
    accounting.frame("gate", 2, 0.2)
    assert [counts(phase) for phase in accounting.end(0.3)] == [(1, 1, 0, 0, 0, 0)]


def test_a_pause_is_between_two_results_of_one_camera() -> None:
    accounting = Accounting("all", 0.0)
    for camera, now in (("a", 0.0), ("b", 0.3), ("a", 0.4), ("b", 0.5)):
        accounting.frame(camera, round(now * 10), now)
        accounting.result(camera, round(now * 10), "1.0.0", 0, 1.0, now)
    assert round(accounting.phases[0].pause_ms) == 400


def test_phases_have_titles_and_reasons() -> None:
    assert title_of({}, "1.0.0") == "1.0.0 serves"
    assert title_of({"state": "LOAD"}, "1.0.0") == "another is prepared"
    assert title_of({"state": "CANARY", "candidate": {"version": "2.0.0"}}, "1.0.0") == "2.0.0 beside 1.0.0"
    assert title_of({"state": "OBSERVE", "candidate": {"version": "2.0.0"}}, "2.0.0") == "2.0.0 is observed"
    assert reason_of({"state": "OBSERVE", "reason": "3 of 200 frames"}) == reason_of({"state": "IDLE"}) == ""
    assert reason_of({"state": "IDLE", "refused": "2.0.0", "reason": "no objects"}) == "2.0.0: no objects"
