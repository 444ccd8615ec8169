"""The journal and the steps: what a crash finds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from app_inference.rollout.journal import Journal, Quarantine, Record
from app_inference.rollout.steps import Step, may_follow
from edgex_kit.wire.errors import Malformed, Unavailable


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record(active="1.0.0", quarantine=(Quarantine("ab", "2.0.0", "it lied", "1"),))
    Journal(tmp_path).write("det", record)
    again = Journal(tmp_path)
    assert again.read("det") == record
    assert again.read("det").is_quarantined("ab")
    assert again.names() == ["det"]
    assert again.read("other") == Record()


def test_a_step_that_may_not_follow_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("det", Record(step=Step.RESOLVE))
    with pytest.raises(Malformed, match="OBSERVE cannot follow RESOLVE"):
        journal.write("det", Record(step=Step.OBSERVE))
    assert journal.read("det").step is Step.RESOLVE


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "det.json").write_text('{"step": "SOMEWHERE"}')
    with pytest.raises(Malformed, match=r"det\.json"):
        Journal(tmp_path).read("det")


def test_every_step_leads_back_to_idle() -> None:
    reached = {Step.IDLE}
    while grown := {step for step in Step if step not in reached and any(may_follow(to, step) for to in reached)}:
        reached |= grown
    assert reached == set(Step)


@pytest.mark.goal(22)
def test_a_record_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    writer = (
        "import itertools, pathlib, sys\n"
        "from app_inference.rollout.journal import *\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "for n in itertools.count():\n"
        "    journal.write('det', Record(active=str(n), reason='x' * 5000))\n"
        "    print(n, flush=True)\n"
    )
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", writer, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        written = process.communicate()[0].split()
        record = Journal(tmp_path).read("det")
        assert len(record.reason) == 5000
        assert not written or int(record.active) >= int(written[-1])
    assert msgspec.json.decode((tmp_path / "det.json").read_bytes())


def test_a_journal_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    journal = Journal(tmp_path / "state")
    with pytest.raises(Unavailable, match=r"det\.json: Not a directory"):
        journal.write("det", Record())
