"""A power cut at every step: what the next start finds."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from app_inference.inference.model import load_model
from app_inference.models.repository import Repository
from app_inference.rollout.boot import Starts, end_well
from app_inference.rollout.journal import Journal, Record
from app_inference.rollout.steps import SUSPECT, Step, may_follow

from tests.app.updating import MODEL, RUNTIME, write_version

# Follows a wish and kills its own process, as a power cut would: right after a step was journalled, or while it was.
VICTIM = """
import asyncio, os, signal, sys
from pathlib import Path
from app_inference.models.repository import Repository
from app_inference.rollout.boot import Starts
from app_inference.rollout.journal import Journal
from app_inference.rollout.steps import Step
from tests.app.updating import MODEL, open_site

step, is_half, strategy = Step(sys.argv[2]), sys.argv[3] == "half", sys.argv[4]
replace = Path.replace

def cut(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Cut(Journal):
    def write(self, name, record):
        if is_half and record.step is step:
            Path.replace = cut
        stored = super().write(name, record)
        if record.step is step:
            cut()
        return stored

async def main():
    root = Path(sys.argv[1])
    journal = Cut(root / ".state")
    boot = Starts(journal, Repository(root)).version(MODEL) or "1.0.0"
    async with open_site(root, boot, journal=journal) as site:
        await site.until(lambda: len(site.street.findings) > 60)
        site.request("2.0.0", site.rollout.record.generation + 1, strategy=strategy)
        await site.settled()
        print(site.rollout.record.reason)

asyncio.run(main())
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_version(tmp_path, "1.0.0", [(0, 0.9)])
    return tmp_path


def run_until_cut(root: Path, step: Step, where: str = "noted") -> "subprocess.CompletedProcess[str]":
    strategy = "shadow" if step is Step.SHADOW else "canary"
    command = [sys.executable, "-c", VICTIM, str(root), step.value, where, strategy]
    environ = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


FORWARD = [step for step in Step if step not in (Step.IDLE, Step.ROLLBACK)]


@pytest.mark.goal(22)
@pytest.mark.timeout(120)
@pytest.mark.parametrize("step", FORWARD)
def test_a_cut_at_any_step_leaves_a_version_that_runs(root: Path, step: Step) -> None:
    write_version(root, "2.0.0", [(0, 0.88)])
    done = run_until_cut(root, step)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Journal(root / ".state").read(MODEL).step is step
    assert booted(root) == ("2.0.0" if step is Step.COMMIT else "1.0.0")
    assert Journal(root / ".state").read(MODEL).boots == (step in SUSPECT)


@pytest.mark.goal(22)
@pytest.mark.timeout(120)
@pytest.mark.parametrize("step", FORWARD)
def test_a_cut_while_a_step_is_noted_leaves_the_one_before_it(root: Path, step: Step) -> None:
    write_version(root, "2.0.0", [(0, 0.88)])
    done = run_until_cut(root, step, "half")
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = Journal(root / ".state").read(MODEL).step
    assert before is not step
    assert may_follow(step, before)
    assert booted(root) == "1.0.0"
    assert Journal(root / ".state").read(MODEL).boots == (before in SUSPECT)


@pytest.mark.goal(22)
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("where", "quarantined"), [("noted", ["2.0.0"]), ("half", [])])
def test_a_cut_while_going_back_has_gone_back(root: Path, where: str, quarantined: list[str]) -> None:
    write_version(root, "2.0.0", [(2, 0.9)])
    done = run_until_cut(root, Step.ROLLBACK, where)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert booted(root) == "1.0.0"
    assert [it.version for it in Journal(root / ".state").read(MODEL).quarantine] == quarantined


def booted(root: Path) -> str:
    """The version that the next start begins with, which runs; its journal is at rest."""
    journal = Journal(root / ".state")
    version = Starts(journal, Repository(root)).version(MODEL) or "1.0.0"
    with load_model(Repository(root).version(MODEL, version), None, RUNTIME) as model:
        model.warm_up()
    assert journal.read(MODEL).step is Step.IDLE
    return version


@pytest.mark.goal(23)
@pytest.mark.timeout(120)
def test_a_candidate_under_which_the_process_dies_twice_is_quarantined(root: Path) -> None:
    write_version(root, "2.0.0", [(0, 0.88)])
    for _ in range(2):
        assert run_until_cut(root, Step.OBSERVE).returncode == -signal.SIGKILL
    journal = Journal(root / ".state")
    assert Starts(journal, Repository(root)).version(MODEL) in ("", "1.0.0")
    quarantine = journal.read(MODEL).quarantine
    assert [it.version for it in quarantine] == ["2.0.0"]
    assert "died 2 times" in quarantine[0].reason
    assert journal.read(MODEL).refused == "2.0.0"
    done = run_until_cut(root, Step.SWITCH)
    assert done.returncode == 0, done.stderr
    assert "is quarantined" in done.stdout


def test_a_stop_that_was_wanted_blames_nobody(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in (Step.RESOLVE, Step.VERIFY, Step.LOAD):
        journal.write(MODEL, Record(step=step, active="1.0.0", candidate="2.0.0", candidate_digest="ab"))
    end_well(journal, MODEL)
    assert Starts(journal, Repository(tmp_path)).version(MODEL) == "1.0.0"
    assert journal.read(MODEL).boots == 0


def test_a_damaged_journal_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / f"{MODEL}.json").write_bytes(b"\x00" * 20)
    assert Starts(Journal(tmp_path), Repository(tmp_path)).version(MODEL) == ""
    assert Journal(tmp_path).read(MODEL) == Record()
