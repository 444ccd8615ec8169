"""What starts find, stops leave, and a failed model needs, through the real service without a core-keeper."""

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from app_inference.updates.journal import Journal, Record
from edgex_kit.standin.address import Address
from eyes import Eye, configure, run_eye
from peers import until
from updating import MODEL, write_version

pytestmark = pytest.mark.timeout(90)


def site(folder: Path, broker: Address, **inference: Any) -> Path:
    bus = {"Host": broker.host, "Port": broker.port}
    pipelines = {"Pipelines": {"p": {"Model": MODEL}}}
    return configure(folder, MessageBus=bus, Writable=pipelines, Inference={"CacheDir": "none", **inference})


def row(eye: Eye) -> dict[str, Any]:
    return next(row for row in eye.status()["models"] if row["name"] == MODEL)


def journalled(folder: Path) -> Record:
    return Journal(folder / "models" / ".state" / "journal").read(MODEL)


def wish(folder: Path, generation: int, **fields: Any) -> None:
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
    wish(tmp_path, 1, version="1.1.0")
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
        wish(tmp_path, 1, version="1.0.0")  # makes it one that is followed, at the next start
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
    wish(tmp_path, 1, version="2.0.0")
    with run_eye(site(tmp_path, broker, ScrubInterval="0s"), "-s") as eye:
        until(lambda: eye.said("VERIFY 2.0.0"), "it is being checked", 20)
        began = time.monotonic()
        eye.process.send_signal(signal.SIGTERM)
        assert eye.process.wait(20) == 0
        assert time.monotonic() - began < 15
    assert journalled(tmp_path).boots == 0
