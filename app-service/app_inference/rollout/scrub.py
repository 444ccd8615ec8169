"""Versions on disk are read again from time to time: a byte that turned is found before somebody needs the file.

Slowly, so that neither disk nor cores notice, and past the page cache, which would show what once was read.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgex_kit.wire.errors import EdgexError

from app_inference.models.repository import Repository, StoredModel, check_digest, check_size

log = logging.getLogger(__name__)

EVERY = 24 * 3600.0  # seconds from one round to the next
RATE = 10e6  # bytes a second
_CHUNK = 1 << 20

Damaged = Callable[[StoredModel, str], Awaitable[None] | None]  # version, and what is wrong with it


@dataclass(slots=True)
class Scrubber:
    """Remembers the digests of versions whose manifest lists none; any later change of these is damage too."""

    repository: Repository
    rate: float = RATE
    checked: int = 0  # versions found whole, in all rounds
    _seen: dict[Path, str] = field(default_factory=dict)
    _reported_complaints: dict[Path, str] = field(default_factory=dict)  # version's folder -> what was reported of it

    async def run(self, damaged: Damaged, every: float = EVERY) -> None:
        """Rounds for ever, none with `every` 0; `damaged` hears of each version once for each thing that is wrong."""
        while every > 0:
            await self.round(damaged)
            await asyncio.sleep(every)

    async def round(self, damaged: Damaged) -> None:
        """Read every version once."""
        for name in await asyncio.to_thread(self.repository.names):
            for version in await asyncio.to_thread(self.repository.versions, name):
                try:
                    stored = await asyncio.to_thread(self.repository.version, name, version)
                except EdgexError as error:  # gone meanwhile, or no model: who loads it hears the same
                    log.debug("%s@%s is not scrubbed: %s", name, version, error)
                    continue
                await self._notify(stored, await self.complaint(stored), damaged)

    async def complaint(self, stored: StoredModel) -> str:
        """What is wrong with a version's files; empty when nothing is, or when it was removed meanwhile."""
        try:
            for listed in stored.manifest.files if stored.manifest else ():
                file = stored.folder / listed.name
                check_size(file, listed)
                check_digest(file, listed, await self._digest(file))
            for file in self._unlisted(stored):
                found = await self._digest(file)
                if self._seen.setdefault(file, found) != found:
                    return f"{file}: its bytes are others than when it was first read"
        except (EdgexError, OSError) as error:
            return str(error) if stored.folder.is_dir() else ""
        return ""

    async def _notify(self, stored: StoredModel, complaint: str, damaged: Damaged) -> None:
        if not complaint:
            self.checked += 1
            self._reported_complaints.pop(stored.folder, None)
            return
        if self._reported_complaints.get(stored.folder) == complaint:
            return
        self._reported_complaints[stored.folder] = complaint
        log.error("model %s@%s is damaged on disk: %s", stored.name, stored.version, complaint)
        answer = damaged(stored, complaint)
        if answer is not None:
            await answer

    @staticmethod
    def _unlisted(stored: StoredModel) -> list[Path]:
        listed = {stored.folder / file.name for file in stored.manifest.files} if stored.manifest else set()
        return [file for file in stored.files() if file not in listed]

    async def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                digest.update(chunk)
                await asyncio.sleep(len(chunk) / self.rate)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return digest.hexdigest()
