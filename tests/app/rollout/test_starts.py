"""What starts find, stops leave, and a failed model needs, through the real service without a core-keeper."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from app_inference.models.repository import file_digest
from app_inference.rollout.journal import Journal, Record
from edgex_standin.address import Address

from tests.app.updating import MODEL, write_version
from tests.conformance.eyes import Eye, configure, run_eye
from tests.conformance.peers import until

pytestmark = pytest.mark.timeout(90)


def site(folder: Path, broker: Address, **inference: Any) -> Path:
    bus = {"Host": broker.host, "Port": broker.port}
    pipelines = {"Pipelines": {"p": {"Model": MODEL}}}
    return configure(folder, MessageBus=bus, Writable=pipelines, Inference={"CacheDir": "none", **inference})


def row(eye: Eye) -> dict[str, Any]:
    return next(row for row in eye.status()["models"] if row["name"] == MODEL)


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
    with run_eye(site(tmp_path, broker), "-s") as eye:
        assert row(eye)["version"] == "1.0.0"
    assert journalled(tmp_path).active == "1.0.0"
    write_version(models, "2.0.0")
    with run_eye(tmp_path, "-s") as eye:
        assert row(eye)["version"] == "1.0.0"
    shutil.rmtree(models / MODEL / "1.0.0")
    with run_eye(tmp_path, "-s") as eye:  # nothing else is left
        assert row(eye)["version"] == "2.0.0"
    assert journalled(tmp_path).active == "2.0.0"


def test_a_journal_that_cannot_be_written_does_not_keep_a_model_from_serving(broker: Address, tmp_path: Path) -> None:
    write_version(tmp_path / "models", "1.0.0")
    (tmp_path / "models" / ".state").write_text("a file where a folder should be")
    with run_eye(site(tmp_path, broker), "-s") as eye:
        assert row(eye)["version"] == "1.0.0"
        assert eye.said("that version 1.0.0 serves could not be noted")


def test_a_wish_brings_back_a_model_that_could_not_be_loaded(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (write_version(models, "1.0.0") / "model.xml").write_text("<net>")
    write_version(models, "1.1.0")
    Journal(models / ".state" / "journal").write(MODEL, Record(active="1.0.0"))
    request(tmp_path, 1, version="1.1.0")
    with run_eye(site(tmp_path, broker), "-s") as eye:
        until(lambda: row(eye)["state"] == "serving", "it is back", 20)
        assert row(eye)["version"] == "1.1.0"
    assert journalled(tmp_path).active == "1.1.0"


@pytest.mark.goal(28)
def test_the_scrub_finds_a_byte_that_turned_and_quarantines_its_version(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_version(models, "1.0.0")
    weights = write_version(models, "2.0.0") / "model.bin"
    with run_eye(site(tmp_path, broker, ScrubInterval="300ms"), "-s") as eye:
        request(tmp_path, 1, version="1.0.0")  # makes it one that is followed, at the next start
    with run_eye(tmp_path, "-s") as eye:
        time.sleep(1.0)  # a round, for the digests that no manifest lists
        weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
        until(lambda: eye.said("version 2.0.0 is damaged on disk"), "it is told", 20)
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
    with run_eye(site(tmp_path, broker, ScrubInterval="0s"), "-s") as eye:
        until(lambda: eye.said("VERIFY 2.0.0"), "it is being checked", 20)
        began = time.monotonic()
        eye.process.send_signal(signal.SIGTERM)
        assert eye.process.wait(20) == 0
        assert time.monotonic() - began < 15
    assert journalled(tmp_path).boots == 0


def test_a_model_that_is_being_loaded_does_not_hold_up_the_end(broker: Address, tmp_path: Path) -> None:
    models, size = tmp_path / "models", 100 << 30
    folder = write_version(models, "1.0.0", files=[{"name": "huge.bin", "size": size, "sha256": "0" * 64}])
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(size)  # a hole: it takes no room, and minutes to read
    with run_eye(site(tmp_path, broker), "-s", wait=False) as eye:
        until(lambda: eye.said("loading model"), "it is being loaded", 20)
        began = time.monotonic()
        eye.process.send_signal(signal.SIGTERM)
        assert eye.process.wait(20) == 0
        assert time.monotonic() - began < 10
        assert eye.said("app-inference stopped")


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
    with run_eye(site(tmp_path, broker, ScrubInterval="0s"), "-s") as eye:
        assert row(eye)["version"] == "2.0.0"
        turn_a_byte(damaged / "model.bin")
        eye.process.kill()
        eye.process.wait(10)
    for start in range(2):  # what is known is known at the next start, too
        with run_eye(tmp_path, "-s") as eye:
            assert row(eye)["state"] == "serving"
            assert row(eye)["version"] == "1.0.0"
            assert ("2.0.0 cannot serve: " in row(eye).get("reason", "")) is (start == 0)
            report = until(lambda eye=eye: eye.status()["updates"]["models"].get(MODEL), "it is reported")
            assert (report["active"]["version"], report["refused"]) == ("1.0.0", "2.0.0")
            assert "model.bin: sha256 is" in report["reason"]
            assert report["quarantined"] == ["2.0.0"]
            assert bool(eye.said("ERROR", "version 2.0.0, which is committed, cannot serve; 1.0.0 serves")) is not start
            (line,) = [it for it in listing(eye, models) if it["version"] == "2.0.0"]
            assert line["state"].startswith("quarantined: ")
    record = journalled(tmp_path)
    assert (record.active, record.previous, record.refused) == ("1.0.0", "", "2.0.0")
    assert [it.version for it in record.quarantine] == ["2.0.0"]
    shutil.rmtree(damaged)
    write_listed(models, "2.0.0")
    request(tmp_path, 1, version="2.0.0", strategy="swap", observe={"minFrames": 1})
    with run_eye(tmp_path, "-s") as eye:  # mended, it may be wished again
        until(lambda: eye.said(f"'{MODEL}': OBSERVE 2.0.0"), "it is tried", 20)


def test_a_committed_version_that_cannot_be_read_or_is_gone_leaves_the_one_before_serving(
    broker: Address, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    write_version(models, "1.0.0")
    damaged = write_version(models, "2.0.0")
    write_version(models, "3.0.0")  # newer, and never wished
    (damaged / "model.xml").write_text("<net>")
    journal = Journal(models / ".state" / "journal")
    journal.write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_eye(site(tmp_path, broker, ScrubInterval="0s"), "-s") as eye:
        assert row(eye)["version"] == "1.0.0"
    assert [it.version for it in journalled(tmp_path).quarantine] == ["2.0.0"]
    shutil.rmtree(damaged)
    journal.write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_eye(tmp_path, "-s") as eye:
        assert row(eye)["version"] == "1.0.0"
    assert not journalled(tmp_path).quarantine


def test_with_no_good_version_before_it_a_damaged_one_stays_a_failure(broker: Address, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for version in ("1.0.0", "2.0.0"):
        turn_a_byte(write_listed(models, version) / "model.bin")
    write_version(models, "3.0.0")  # newer, and never wished
    Journal(models / ".state" / "journal").write(MODEL, Record(active="2.0.0", previous="1.0.0"))
    with run_eye(site(tmp_path, broker, ScrubInterval="0s"), "-s") as eye:
        assert row(eye)["state"] == "failed"
        assert "2.0.0/model.bin: sha256 is" in row(eye)["reason"]
        assert "nor can 1.0.0" in row(eye)["reason"]
    assert journalled(tmp_path) == Record(active="2.0.0", previous="1.0.0")


def listing(eye: Eye, models: Path) -> list[dict[str, Any]]:
    """What `edgex-models list` says."""
    asked = ["list", "--json", "--models-dir", str(models), "--url", eye.url]
    command = [sys.executable, "-m", "app_inference.cli", *asked]
    rows: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    return rows
