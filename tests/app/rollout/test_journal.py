"""The journal and the steps: what a crash finds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from app_inference.inference.model import load_model
from app_inference.models.repository import Repository, file_digest
from app_inference.rollout.journal import Journal, Progress, Quarantine, Record, Starts, hold
from app_inference.rollout.reported import REPORTED_FILE, ModelReport, Reported, VersionReport, reported_text
from app_inference.rollout.steps import SUSPECT, Step, may_follow
from edgex_kit.wire.errors import Malformed, Unavailable
from edgex_standin.address import Address

from tests.app.updating import MODEL, RUNTIME, write_version
from tests.conformance.app_process import App, configure, run_app
from tests.conformance.peers import until


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
    with pytest.raises(Malformed):
        Progress("det", journal, lambda: None).step(Step.OBSERVE)
    assert journal.read("det").step is Step.RESOLVE


DAMAGE = [b"", b"\0" * 64, b'{"step": "SOMEWHERE"}', b'{"active": "1.0', b"[]", b"[" * 100_000]


@pytest.mark.fault(15)
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda it: repr(it[:12]))
def test_a_damaged_record_is_kept_and_the_one_before_it_counts(tmp_path: Path, damage: bytes) -> None:
    journal = Journal(tmp_path)
    for active in ("1.0.0", "1.1.0"):
        journal.write("det", Record(active=active))
    (tmp_path / "det.json").write_bytes(damage)
    assert journal.read("det").active == "1.0.0"
    assert (tmp_path / "det.damaged").read_bytes() == damage
    (tmp_path / "det.before").write_bytes(damage)
    for _ in range(2):
        with pytest.raises(Malformed):
            journal.read("det")
    journal.write("det", Record(active="1.2.0"))
    assert journal.read("det").active == "1.2.0"


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("state", "active", "previous", "expected"),
    [
        (Step.IDLE, "1.1.0", "1.0.0", "1.1.0"),
        (Step.OBSERVE, "2.0.0", "1.1.0", "1.1.0"),
        (Step.SHADOW, "1.1.0", "1.0.0", "1.1.0"),
    ],
)
def test_a_start_with_a_damaged_journal_begins_with_the_reported_version_never_with_the_newest(
    tmp_path: Path, state: Step, active: str, previous: str, expected: str
) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0", "3.0.0"):
        write_version(tmp_path, version, [(0, int(version[0]) / 10)])
    journal, repository = Journal(tmp_path / ".state" / "journal"), Repository(tmp_path)
    journal.folder.mkdir(parents=True)
    (journal.folder / "det.json").write_bytes(b"\0" * 20)
    with pytest.raises(Unavailable):
        Starts(journal, repository).version(MODEL)
    report = ModelReport(
        state=state,
        active=VersionReport(active),
        previous=VersionReport(previous),
        quarantine_reasons={"3.0.0": "it lied", "9.9.9": "it is gone"},
    )
    text = reported_text(Reported(models={MODEL: report}))
    (journal.folder.parent / REPORTED_FILE).write_text(text)
    assert Starts(journal, repository).version(MODEL) == expected
    assert Starts(journal, repository).version(MODEL) == expected
    assert [it.version for it in journal.read(MODEL).quarantine] == ["3.0.0"]


@pytest.mark.fault(15)
def test_a_version_in_quarantine_is_no_version_to_begin_with(tmp_path: Path) -> None:
    for version in ("1.0.0", "2.0.0"):
        write_version(tmp_path, version, [(0, int(version[0]) / 10)])
    journal, repository = Journal(tmp_path / ".state"), Repository(tmp_path)

    def entry(version: str) -> Quarantine:
        stored = repository.version(MODEL, version)
        return Quarantine(stored.identity(stored.digest()), version, "it lied", "1")

    journal.write(MODEL, Record(quarantine=(entry("2.0.0"),)))
    assert Starts(journal, repository).version(MODEL) == "1.0.0"
    journal.write(MODEL, Record(quarantine=(entry("2.0.0"), entry("1.0.0"))))
    with pytest.raises(Unavailable):
        Starts(journal, repository).version(MODEL)


def test_every_step_leads_back_to_idle() -> None:
    reached = {Step.IDLE}
    while grown := {step for step in Step if step not in reached and any(may_follow(to, step) for to in reached)}:
        reached |= grown
    assert reached == set(Step)


@pytest.mark.integration
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


def test_a_journal_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    journal = Journal(tmp_path / "state")
    with pytest.raises(Unavailable, match=r"det\.json"):
        journal.write("det", Record())


# Follows a request and kills its own process, as a power cut would: right after a step was journalled, or while it was.
VICTIM = """
import asyncio, os, signal, sys
from pathlib import Path
from app_inference.models.repository import Repository
from app_inference.rollout.journal import Starts
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


@pytest.mark.integration
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


@pytest.mark.integration
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


@pytest.mark.integration
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


@pytest.mark.integration
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
    Progress(MODEL, journal, lambda: None).end()
    assert Starts(journal, Repository(tmp_path)).version(MODEL) == "1.0.0"
    assert journal.read(MODEL).boots == 0


@pytest.mark.fault(19)
def test_the_state_belongs_to_one_process_whose_name_is_said(tmp_path: Path) -> None:
    script = "import sys, pathlib; from app_inference.rollout.journal import hold; hold(pathlib.Path(sys.argv[1]), 'b')"
    with hold(tmp_path / "state", "app-inference"):
        other = subprocess.run([sys.executable, "-c", script, str(tmp_path / "state")], capture_output=True, text=True)
        assert other.returncode == 1
        assert f"in use by app-inference, process {os.getpid()} on " in other.stderr
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "state")]).returncode == 0
    (tmp_path / "file").write_text("no folder")
    with hold(tmp_path / "file" / "state", "app-inference"):
        pass


pytestmark = pytest.mark.timeout(90)


def site(folder: Path, broker: Address, **inference: Any) -> Path:
    bus = {"Host": broker.host, "Port": broker.port}
    pipelines = {"Pipelines": {"p": {"Model": MODEL}}}
    return configure(folder, MessageBus=bus, Writable=pipelines, Inference={"CacheDir": "none", **inference})


def row(app: App) -> dict[str, Any]:
    return next(row for row in app.status()["models"] if row["name"] == MODEL)


def journalled(folder: Path) -> Record:
    return Journal(folder / "models" / ".state" / "journal").read(MODEL)


def request(folder: Path, generation: int, **fields: Any) -> None:
    """Where there is no core-keeper, the desired state is a file."""
    state = folder / "models" / ".state"
    state.mkdir(exist_ok=True)
    (state / "desired.json").write_text(json.dumps({"generation": generation, "models": {MODEL: fields}}))


@pytest.mark.goal(15, 22)
def test_a_version_copied_into_the_folder_does_not_serve_at_the_next_start(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_version(models, "1.0.0")
    with run_app(site(tmp_path, broker), "-s") as app:
        assert row(app)["version"] == "1.0.0"
    assert journalled(tmp_path).active == "1.0.0"
    write_version(models, "2.0.0")
    with run_app(tmp_path, "-s") as app:
        assert row(app)["version"] == "1.0.0"
    shutil.rmtree(models / MODEL / "1.0.0")
    with run_app(tmp_path, "-s") as app:  # nothing else is left
        assert row(app)["version"] == "2.0.0"
    assert journalled(tmp_path).active == "2.0.0"


def test_a_journal_that_cannot_be_written_does_not_keep_a_model_from_serving(broker: Address, tmp_path: Path) -> None:
    write_version(tmp_path / "models", "1.0.0")
    (tmp_path / "models" / ".state").write_text("a file where a folder should be")
    with run_app(site(tmp_path, broker), "-s") as app:
        assert row(app)["version"] == "1.0.0"
        assert app.said("that version 1.0.0 serves could not be noted")


def test_a_request_brings_back_a_model_that_could_not_be_loaded(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (write_version(models, "1.0.0") / "model.xml").write_text("<net>")
    write_version(models, "1.1.0")
    Journal(models / ".state" / "journal").write(MODEL, Record(active="1.0.0"))
    request(tmp_path, 1, version="1.1.0")
    with run_app(site(tmp_path, broker), "-s") as app:
        until(lambda: row(app)["state"] == "serving", "it is back", 20)
        assert row(app)["version"] == "1.1.0"
    assert journalled(tmp_path).active == "1.1.0"


@pytest.mark.goal(28)
def test_the_scrub_finds_a_byte_that_turned_and_quarantines_its_version(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_version(models, "1.0.0")
    weights = write_version(models, "2.0.0") / "model.bin"
    with run_app(site(tmp_path, broker, ScrubInterval="300ms"), "-s") as app:
        request(tmp_path, 1, version="1.0.0")  # makes it one that is followed, at the next start
    with run_app(tmp_path, "-s") as app:
        time.sleep(1.0)  # a round, for the digests that no manifest lists
        weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
        until(lambda: app.said("version 2.0.0 is damaged on disk"), "it is told", 20)
        until(lambda: journalled(tmp_path).quarantine, "it is quarantined", 10)
    (entry,) = journalled(tmp_path).quarantine
    assert entry.version == "2.0.0"
    assert entry.reason.startswith("damaged on disk: ")


def test_a_version_that_is_being_checked_does_not_hold_up_the_end(broker: Address, tmp_path: Path) -> None:
    models, size = tmp_path / "models", 100 << 30
    write_version(models, "1.0.0")
    folder = write_version(models, "2.0.0", files=[{"name": "huge.bin", "size": size, "sha256": "0" * 64}])
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(size)  # a hole: it takes no room, and minutes to read
    Journal(models / ".state" / "journal").write(MODEL, Record(active="1.0.0"))
    request(tmp_path, 1, version="2.0.0")
    with run_app(site(tmp_path, broker, ScrubInterval="0s"), "-s") as app:
        until(lambda: app.said("VERIFY 2.0.0"), "it is being checked", 20)
        began = time.monotonic()
        app.process.send_signal(signal.SIGTERM)
        assert app.process.wait(20) == 0
        assert time.monotonic() - began < 15
    assert journalled(tmp_path).boots == 0


def test_a_model_that_is_being_loaded_does_not_hold_up_the_end(broker: Address, tmp_path: Path) -> None:
    models, size = tmp_path / "models", 100 << 30
    folder = write_version(models, "1.0.0", files=[{"name": "huge.bin", "size": size, "sha256": "0" * 64}])
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(size)  # a hole: it takes no room, and minutes to read
    with run_app(site(tmp_path, broker), "-s", wait=False) as app:
        until(lambda: app.said("loading model"), "it is being loaded", 20)
        began = time.monotonic()
        app.process.send_signal(signal.SIGTERM)
        assert app.process.wait(20) == 0
        assert time.monotonic() - began < 10
        assert app.said("app-inference stopped")


def listed(folder: Path) -> list[dict[str, Any]]:
    """What a manifest says of its files."""
    files = [folder / name for name in ("model.xml", "model.bin")]
    return [{"name": it.name, "size": it.stat().st_size, "sha256": file_digest(it)} for it in files]


def turn_a_byte(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def write_listed(models: Path, version: str) -> Path:
    """A version whose manifest knows the digests of its files."""
    folder = write_version(models, version)
    manifest = folder / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({**yaml.safe_load(manifest.read_text()), "files": listed(folder)}))
    return folder


@pytest.mark.goal(22, 28)
def test_a_committed_version_that_was_damaged_leaves_the_one_before_serving_and_says_so(
    broker: Address, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    write_listed(models, "1.0.0")
    damaged = write_listed(models, "2.0.0")
    Journal(models / ".state" / "journal").write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_app(site(tmp_path, broker, ScrubInterval="0s"), "-s") as app:
        assert row(app)["version"] == "2.0.0"
        turn_a_byte(damaged / "model.bin")
        app.process.kill()
        app.process.wait(10)
    for start in range(2):  # what is known is known at the next start, too
        with run_app(tmp_path, "-s") as app:
            assert row(app)["state"] == "serving"
            assert row(app)["version"] == "1.0.0"
            assert ("2.0.0 cannot serve: " in row(app).get("reason", "")) is (start == 0)
            report = until(lambda app=app: app.status()["updates"]["models"].get(MODEL), "it is reported")
            assert (report["active"]["version"], report["refused"]) == ("1.0.0", "2.0.0")
            assert "model.bin: sha256 is" in report["reason"]
            assert report["quarantined"] == ["2.0.0"]
            assert bool(app.said("ERROR", "version 2.0.0, which is committed, cannot serve; 1.0.0 serves")) is not start
            (line,) = [it for it in listing(app, models) if it["version"] == "2.0.0"]
            assert line["state"].startswith("quarantined: ")
    record = journalled(tmp_path)
    assert (record.active, record.previous, record.refused) == ("1.0.0", "", "2.0.0")
    assert [it.version for it in record.quarantine] == ["2.0.0"]
    shutil.rmtree(damaged)
    write_listed(models, "2.0.0")
    request(tmp_path, 1, version="2.0.0", strategy="swap", observe={"minFrames": 1})
    with run_app(tmp_path, "-s") as app:  # mended, it may be requested again
        until(lambda: app.said(f"'{MODEL}': OBSERVE 2.0.0"), "it is tried", 20)


def test_a_committed_version_that_cannot_be_read_or_is_gone_leaves_the_one_before_serving(
    broker: Address, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    write_version(models, "1.0.0")
    damaged = write_version(models, "2.0.0")
    write_version(models, "3.0.0")  # newer, and never requested
    (damaged / "model.xml").write_text("<net>")
    journal = Journal(models / ".state" / "journal")
    journal.write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_app(site(tmp_path, broker, ScrubInterval="0s"), "-s") as app:
        assert row(app)["version"] == "1.0.0"
    assert [it.version for it in journalled(tmp_path).quarantine] == ["2.0.0"]
    shutil.rmtree(damaged)
    journal.write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_app(tmp_path, "-s") as app:
        assert row(app)["version"] == "1.0.0"
    assert not journalled(tmp_path).quarantine


def test_with_no_good_version_before_it_a_damaged_one_stays_a_failure(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for version in ("1.0.0", "2.0.0"):
        turn_a_byte(write_listed(models, version) / "model.bin")
    write_version(models, "3.0.0")  # newer, and never requested
    Journal(models / ".state" / "journal").write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_app(site(tmp_path, broker, ScrubInterval="0s"), "-s") as app:
        assert row(app)["state"] == "failed"
        assert "2.0.0/model.bin: sha256 is" in row(app)["reason"]
        assert "nor can 1.0.0" in row(app)["reason"]
    assert journalled(tmp_path) == Record(active="2.0.0", previous="1.0.0")


def listing(app: App, models: Path) -> list[dict[str, Any]]:
    """What `edgex-models list` says."""
    asked = ["list", "--json", "--models-dir", str(models), "--url", app.url]
    command = [sys.executable, "-m", "app_inference.cli", *asked]
    rows: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    return rows


@pytest.mark.fault(17)
def test_a_model_that_is_missing_at_the_start_serves_once_it_is_there(broker: Address, tmp_path: Path) -> None:
    write_version(tmp_path / "late", "1.0.0")
    with run_app(site(tmp_path, broker), "-s") as app:
        assert row(app)["state"] == "failed"
        shutil.copytree(tmp_path / "late" / MODEL, tmp_path / "models" / MODEL)
        until(lambda: row(app)["state"] == "serving", "it serves", 20)
        assert len(app.said("cannot serve")) == 1


@pytest.mark.fault(19)
def test_a_second_service_on_one_state_is_refused_and_the_first_goes_on(broker: Address, tmp_path: Path) -> None:
    write_version(tmp_path / "models", "1.0.0")
    folder = site(tmp_path, broker)
    with run_app(folder, "-s") as app:
        environ = {**os.environ, "EDGEX_SECURITY_SECRET_STORE": "false", "EDGEX_STARTUP_DURATION": "1"}
        command = [sys.executable, "-m", "app_inference", "-cd", str(folder), "-s"]
        environ |= {"SERVICE_PORT": "0", "INFERENCE_MODELSDIR": str(tmp_path / "models")}
        second = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert second.returncode != 0
        assert "is in use by " in second.stdout + second.stderr
        assert row(app)["version"] == "1.0.0"
