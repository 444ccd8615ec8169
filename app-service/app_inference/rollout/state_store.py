"""Where the desired and the reported state are stored: core-keeper, or a folder where there is none.

core-keeper has no compare-and-set, so a generation only orders what one reader sees: who writes reads first, and the
newest document counts.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgex_kit.bus.bus import Bus, Message
from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.service.service import Service
from edgex_kit.wire import topics
from edgex_kit.wire.errors import Unavailable

from app_inference.rollout.desired import Desired, desired_text, parse_desired
from app_inference.rollout.reported import REPORTED_FILE
from app_inference.settings import AppSettings


class StateStore(Protocol):
    """A place for both documents."""

    async def read(self) -> Desired:
        """The desired state. Raises Invalid for one that is wrong, Unreachable while the place cannot be asked."""

    async def write(self, desired: Desired) -> None:
        """Store a new desired state."""

    async def report(self, reported: str) -> None:
        """Store the reported state."""

    def watch(self, hint: Callable[[], None]) -> None:
        """Call `hint` when the desired state may have changed; it is a hint and may come for nothing or not at all."""


def state_store_of(service: Service[AppSettings]) -> StateStore:
    """The store of this service."""
    keeper, folder = service.provider.keeper, service.settings.inference.state_path
    if keeper is None:
        return FolderStateStore(folder)
    return KeeperStateStore(keeper, service.bus, service.name, folder)


class KeeperStateStore:
    """Both documents as values in core-keeper, where every EdgeX tool can see them."""

    def __init__(self, keeper: Keeper, bus: Bus, service: str, folder: Path | None = None) -> None:
        self._folder = folder  # of a copy of the reported state, for a start that finds the journal damaged
        self._keeper = keeper
        self._bus = bus
        self._desired = f"{ROOT}/{service}/Models/Desired"
        self._reported = f"{ROOT}/{service}/Models/Reported"

    async def read(self) -> Desired:
        values = await self._keeper.values(self._desired)
        return parse_desired(values.get(self._desired, ""))

    async def write(self, desired: Desired) -> None:
        await self._keeper.put(self._desired, desired_text(desired))

    async def report(self, reported: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(_put, self._folder / REPORTED_FILE, reported)
        await self._keeper.put(self._reported, reported)

    def watch(self, hint: Callable[[], None]) -> None:
        def changed(_message: Message) -> None:
            hint()

        self._bus.subscribe(topics.config_change(self._desired), changed)
        self._bus.on_connected(hint)


class FolderStateStore:
    """Both documents as files, for a service that runs without a configuration provider."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self) -> Desired:
        path = self._folder / "desired.json"
        try:
            return parse_desired(await asyncio.to_thread(path.read_bytes) if path.is_file() else "")
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error

    async def write(self, desired: Desired) -> None:
        await asyncio.to_thread(_put, self._folder / "desired.json", desired_text(desired))

    async def report(self, reported: str) -> None:
        await asyncio.to_thread(_put, self._folder / REPORTED_FILE, reported)

    def watch(self, hint: Callable[[], None]) -> None:
        """A file is only read again from time to time."""


def _put(path: Path, text: str) -> None:
    """Write a file whole. Raises Unavailable."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
