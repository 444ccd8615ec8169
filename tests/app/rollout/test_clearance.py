"""Old versions leave the disk beside the next update, never under it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_inference.models.repository import Repository
from app_inference.models.staging import remove
from app_inference.rollout.journal import Journal, Record
from app_inference.rollout.steps import Step

from tests.app.updating import MODEL, Site, open_site, write_version


class Noted(Journal):
    """A journal that remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: list[Record] = []

    def write(self, name: str, record: Record) -> Record:
        self.written.append(record)
        return super().write(name, record)


class Held:
    """A disk that removes nothing until it is let."""

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()

    def __call__(self, folder: Path) -> None:
        self.begun.set()
        assert self.let.wait(20)
        remove(folder)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr("app_inference.models.retention.remove", held)
    yield held
    held.let.set()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in ("0.1.0", "0.2.0", "0.3.0", "1.0.0", "2.0.0", "3.0.0"):
        write_version(tmp_path, version)
    return tmp_path


async def committed(site: Site, disk: Held) -> None:
    """2.0.0 serves, and the first of two old versions, 0.2.0, is just being removed."""
    site.request("2.0.0", promoted=True)
    await site.settled()
    await site.until(disk.begun.is_set)


async def test_a_wish_that_comes_while_old_versions_go_does_not_call_the_committed_one_refused(
    root: Path, disk: Held
) -> None:
    journal = Noted(root / ".state")
    async with open_site(root, keep=1, journal=journal) as site:
        await committed(site, disk)
        site.request("3.0.0", 2, promoted=True)
        await site.until(lambda: site.rollout.record.candidate == "3.0.0")
        disk.let.set()
        await site.settled()
        assert site.rollout.record.active == "3.0.0"
    assert [it.refused for it in journal.written if it.refused] == []
    assert [it.reason for it in journal.written if it.reason] == []


@pytest.mark.parametrize("version", ["0.1.0", "~0.1.0"])
async def test_a_version_requested_while_older_ones_go_stays_and_serves(root: Path, disk: Held, version: str) -> None:
    async with open_site(root, keep=1) as site:
        await committed(site, disk)
        site.request(version, 2, promoted=True)  # 0.1.0 would go next
        await site.until(lambda: site.rollout.record.candidate == version)
        disk.let.set()
        await site.settled()
        assert site.rollout.record.active == "0.1.0"
    assert "0.2.0" not in Repository(root).versions(MODEL)


async def test_a_version_wished_for_while_it_goes_is_refused_once_it_has_gone(root: Path, disk: Held) -> None:
    async with open_site(root, keep=1) as site:
        await committed(site, disk)
        site.request("0.2.0", 2, promoted=True)
        await site.until(lambda: site.rollout.record.candidate == "0.2.0")
        assert site.rollout.record.step is Step.RESOLVE
        disk.let.set()
        await site.until(lambda: site.rollout.record.step is Step.IDLE)
        assert "no version '0.2.0'; there are" in site.rollout.record.reason
        assert site.rollout.record.active == "2.0.0"
        assert set(site.street.versions()[-4:]) == {"2.0.0"}


async def test_a_wish_that_only_changes_the_threshold_waits_for_no_removal(root: Path, disk: Held) -> None:
    async with open_site(root, keep=1) as site:
        await committed(site, disk)
        site.request("2.0.0", 2, threshold=0.4)
        await site.until(lambda: site.rollout.record.generation == 2)
        assert site.slot.threshold == 0.4
