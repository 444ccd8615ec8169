"""How a version is made ready: checked once, compiled where nobody waits, known by all that is said of it."""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

import app_inference.models.repository as stored_module
import pytest
import yaml
from app_inference.inference.model import load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository
from app_inference.models.retention import pin
from app_inference.rollout.desired import ObserveOptions
from app_inference.rollout.preparation import NICENESS, Preparer

from tests.app.updating import MODEL, QUICK, RUNTIME, Slots, open_site, write_version


def children() -> list[int]:
    """Processes that this one has started."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


@pytest.mark.integration
@pytest.mark.goal(12, 41)
@pytest.mark.timeout(60)
async def test_a_version_is_compiled_in_a_process_of_low_priority_and_only_read_here(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0", work=3)
    preparer = Preparer(Repository(tmp_path), Runtime(streams=1, threads=1, cache_dir=tmp_path / "cache"))
    loading = asyncio.create_task(preparer.load(preparer.find(MODEL, "1.0.0")))
    seen: set[int] = set()
    while not loading.done():
        for child in children():
            with contextlib.suppress(OSError):
                if "app_inference.rollout.preparation" in Path(f"/proc/{child}/cmdline").read_text():
                    seen.add(os.getpriority(os.PRIO_PROCESS, child))
        await asyncio.sleep(0.005)
    prepared = await loading
    assert NICENESS in seen
    assert prepared.model.is_from_cache
    assert prepared.compile_ms > 0
    assert NICENESS >= 10


@pytest.mark.goal(28)
async def test_checking_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_version(tmp_path, "1.0.0")
    files = [
        {"name": name, "size": (folder / name).stat().st_size, "sha256": stored_module.file_digest(folder / name)}
        for name in ("model.xml", "model.bin")
    ]
    manifest = folder / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({**yaml.safe_load(manifest.read_text()), "files": files}))
    preparer = Preparer(Repository(tmp_path), RUNTIME)
    read: list[str] = []
    digest = stored_module.file_digest

    def counted(path: Path, progress: stored_module.Progress | None = None) -> str:
        read.append(path.name)
        return digest(path, progress)

    monkeypatch.setattr(stored_module, "file_digest", counted)
    await preparer.verify(preparer.find(MODEL, "1.0.0"))
    assert sorted(read) == ["model.bin", "model.xml"]


async def test_a_corrected_manifest_is_another_version_and_the_same_one_stays_refused(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0")
    folder = write_version(tmp_path, "2.0.0", labels=["dog", "car", "person"])
    async with open_site(tmp_path) as site:
        for generation in (1, 2):
            site.request("2.0.0", generation)
            await site.settled()
        assert "is quarantined" in site.rollout.record.reason
        manifest = folder / "manifest.yaml"
        manifest.write_text(manifest.read_text() + "# a remark is no correction\n")
        site.request("2.0.0", 3)
        await site.settled()
        assert "is quarantined" in site.rollout.record.reason
        shutil.rmtree(folder)
        write_version(tmp_path, "2.0.0")
        site.request("2.0.0", 4, promoted=True)
        await site.settled()
        assert site.rollout.record.active == "2.0.0"


@pytest.mark.goal(20)
async def test_the_way_back_needs_no_disk(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0")
    write_version(tmp_path, "2.0.0", [(2, 0.9)])
    async with open_site(tmp_path) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0", observe=ObserveOptions(min_frames=100, hold_seconds=60))
        await site.until(lambda: site.slot.model.version == "2.0.0")
        shutil.rmtree(tmp_path / MODEL)
        await site.until(lambda: site.street.versions()[-1] == "1.0.0")
        await site.until(lambda: site.rollout.record.step == "IDLE")
        assert not site.street.lost


@pytest.mark.goal(19, 20)
async def test_answers_that_turn_into_no_numbers_go_back_and_cost_no_frame(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0")
    write_version(tmp_path, "2.0.0", [(0, 0.9)], late=[(0, float("nan"))], after=100)
    async with open_site(tmp_path) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0", observe=ObserveOptions(min_frames=1000, hold_seconds=60))
        await site.until(lambda: bool(site.rollout.record.quarantine), 20)
        assert "of the frames failed" in site.rollout.record.reason
        assert site.slot.model.version == "1.0.0"
        assert not site.street.lost


@pytest.mark.goal(17)
@pytest.mark.parametrize(("rows", "least", "most"), [([(0, 0.88)], 1.0, 1.0), ([(0, 0.9), (1, 0.9)], 0.6, 0.7)])
async def test_a_shadow_says_how_far_it_agrees(
    tmp_path: Path, rows: list[tuple[int, float]], least: float, most: float
) -> None:
    write_version(tmp_path, "1.0.0", [(0, 0.9)])
    write_version(tmp_path, "2.0.0", rows)
    async with open_site(tmp_path) as site:
        site.request(
            "2.0.0", strategy="shadow", paused=False, observe=ObserveOptions(min_frames=10_000, hold_seconds=60)
        )
        await site.until(lambda: site.rollout.record.step == "SHADOW" or bool(site.rollout.record.reason))
        await site.until(lambda: site.rollout.judgement.values.get("frames", 0) > 20)
        assert least <= site.rollout.judgement.values["agreement"] <= most


@pytest.mark.goal(17)
async def test_a_shadow_that_finds_the_same_things_elsewhere_does_not_pass(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0", [(0, 0.9), (0, 0.9)])
    write_version(tmp_path, "2.0.0", [(0, 0.9), (0, 0.9)], moved_by=0.4)
    async with open_site(tmp_path) as site:
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("2.0.0", strategy="shadow")
        await site.settled()
        assert "minAgreement" in site.rollout.record.reason
        assert set(site.street.versions()) == {"1.0.0"}


async def test_old_versions_go_after_a_commit_and_never_one_that_is_needed(tmp_path: Path) -> None:
    for version in ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "1.0.0", "2.0.0", "3.0.0"):
        write_version(tmp_path, version)
    repository = Repository(tmp_path)
    pin(repository, MODEL, "0.1.0")
    repository.point(MODEL, "stable", "0.2.0")
    async with open_site(tmp_path, keep=1) as site:
        site.request("2.0.0", promoted=True, observe=QUICK)
        await site.settled()
        await site.until(lambda: len(repository.versions(MODEL)) == 6)
    assert repository.versions(MODEL) == ["3.0.0", "2.0.0", "1.0.0", "0.5.0", "0.2.0", "0.1.0"]


async def test_what_was_compiled_of_versions_that_are_gone_goes_too_and_nothing_else(tmp_path: Path) -> None:
    for version, score in (("0.1.0", 0.5), ("0.2.0", 0.9), ("0.3.0", 0.7), ("1.0.0", 0.8)):
        write_version(tmp_path, version, [(0, score)])
    for name in ("model.xml", "model.bin"):
        shutil.copy(tmp_path / MODEL / "0.2.0" / name, tmp_path / MODEL / "1.0.0" / name)
    repository, cache = Repository(tmp_path), tmp_path / "cache"
    runtime = Runtime(streams=1, threads=1, cache_dir=cache)
    for version in ("0.1.0", "0.2.0", "0.3.0"):
        load_model(repository.version(MODEL, version), None, runtime).close()
    elsewhere = write_version(tmp_path / "elsewhere", "1.0.0", [(0, 0.6)])
    used = load_model(stored_module.stored_model(elsewhere), None, runtime)  # loaded, and in no repository
    (cache / "notes").mkdir()  # none of ours
    digests = {version: repository.version(MODEL, version).digest()[:16] for version in repository.versions(MODEL)}
    assert digests["0.2.0"] == digests["1.0.0"]
    await Preparer(repository, runtime, keep=1).prune(MODEL, "1.0.0", lambda: {"1.0.0"})
    assert repository.versions(MODEL) == ["1.0.0", "0.3.0"]
    kept = {digests["0.3.0"], digests["1.0.0"], used.digest[:16], "notes"}
    assert {it.name.partition("-")[0] for it in cache.iterdir()} == kept


async def test_a_repository_that_cannot_be_changed_keeps_all_and_the_update_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("app_inference.models.retention.remove", refused)
    for version in ("0.1.0", "0.2.0", "1.0.0", "2.0.0"):
        write_version(tmp_path, version)
    async with open_site(tmp_path, keep=1) as site:
        site.request("2.0.0", promoted=True)
        await site.settled()
        assert site.rollout.record.active == "2.0.0"
        await site.until(lambda: "could not be removed" in caplog.text)
    assert len(Repository(tmp_path).versions(MODEL)) == 4


async def test_a_model_of_which_nothing_could_be_loaded_is_brought_back_by_a_good_version(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0")
    bad = write_version(tmp_path, "2.0.0", nan=True)
    write_version(tmp_path, "3.0.0", [(1, 0.9)], labels=["other", "names", "here"])
    async with open_site(tmp_path) as site:
        served: Slots = site.served
        served.slots.clear()
        served.missing.add(MODEL)
        site.request("2.0.0", 1)
        await site.settled()
        assert "NaN" in site.rollout.record.reason  # the self-test counts here, too
        assert served.is_missing(MODEL)
        site.request("3.0.0", 2, threshold=0.3)
        await site.settled()
        assert site.rollout.record.active == "3.0.0"
        slot = served.find(MODEL)
        assert slot is not None
        assert (slot.model.version, slot.threshold) == ("3.0.0", 0.3)
    assert bad.exists()
