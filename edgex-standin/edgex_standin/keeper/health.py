"""The registry's health checks: core-keeper asks, services do not report (contract 4.4).

Every half interval until a service is UP for the first time, then every interval; 2xx is UP, anything else DOWN.
"""

import asyncio
import contextlib
import logging
import sqlite3
import ssl
from collections.abc import AsyncIterator

from edgex_kit.wire.durations import parse_duration

from edgex_standin import documents
from edgex_standin.address import Address
from edgex_standin.core import Core
from edgex_standin.documents import Doc

log = logging.getLogger(__name__)

SHORTEST = 0.1  # seconds between two checks, whatever a registration says


class HealthChecks:
    """One task for each service that is followed; made by `open_health_checks`."""

    def __init__(self, core: Core, tasks: asyncio.TaskGroup) -> None:
        self._core = core
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    def follow(self, entry: Doc) -> None:
        """Check `entry`'s service from now on."""
        name = entry["serviceId"]
        self.forget(name)
        self._running[name] = self._tasks.create_task(self._check_for_ever(entry), name=f"health:{name}")

    def forget(self, name: str) -> None:
        task = self._running.pop(name, None)
        if task is not None:
            task.cancel()

    def forget_all(self) -> None:
        for name in list(self._running):
            self.forget(name)

    async def _check_for_ever(self, entry: Doc) -> None:
        interval = max(parse_duration(entry["HealthCheck"]["interval"]), 2 * SHORTEST)
        pause, last = interval / 2, entry["status"]
        while True:
            await asyncio.sleep(pause)
            status = "UP" if await _answers(entry, self._core.service.timeout_s or None) else "DOWN"
            if status != last:
                log.info("%s is %s", entry["serviceId"], status)
                last = status
            await self._core.store.run(lambda db, status=status: _note(db, entry, status))  # type: ignore[misc]
            if status == "UP":
                pause = interval


@contextlib.asynccontextmanager
async def open_health_checks(core: Core) -> AsyncIterator[HealthChecks]:
    """Checks of everybody who is registered already, and of whoever registers, for the length of the block."""
    async with asyncio.TaskGroup() as tasks:
        checks = HealthChecks(core, tasks)
        for entry in await core.store.run(lambda db: documents.select(db, "registration")):
            if entry["status"] != "HALT":
                checks.follow(entry)
        try:
            yield checks
        finally:
            checks.forget_all()


async def _answers(entry: Doc, wait: float | None) -> bool:
    """Whether a GET of the service's health path gives a 2xx status."""
    check, place = entry["HealthCheck"], Address(entry["host"], entry["port"])
    if check["type"] not in ("http", "https"):
        return False
    try:
        async with asyncio.timeout(wait):
            return 200 <= await _status_of(place, check["path"], check["type"] == "https") < 300
    except (OSError, ValueError, IndexError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def _status_of(place: Address, path: str, tls: bool) -> int:
    """The status of one GET; the body is left unread."""
    secure = ssl.create_default_context() if tls else None
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=secure)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the other side may have closed first
            await writer.wait_closed()


def _note(db: sqlite3.Connection, entry: Doc, status: str) -> None:
    """Write down what a check found, unless the service has moved or gone meanwhile."""
    known = documents.find(db, "registration", entry["serviceId"])
    if known and known["status"] != "HALT" and (known["host"], known["port"]) == (entry["host"], entry["port"]):
        documents.replace(db, "registration", entry["serviceId"], {**known, "status": status})
