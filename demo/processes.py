"""Child processes that end when we do: each in a session of its own, so that Ctrl-C reaches us alone and we decide."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from edgex_kit.wire.errors import Unavailable

GRACE = 8.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True, slots=True)
class Child:
    """A running part of EdgeX Vision."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_words(self) -> str:
        """The last line of its log that tells a person something."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].partition('msg="')[2].rstrip('"') or lines[-1] if lines else "it said nothing"


@contextlib.asynccontextmanager
async def running(name: str, module: str, *args: str, env: Mapping[str, str], log: Path) -> AsyncIterator[Child]:
    """Run `python -m module` for the length of the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *args,
            stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **env}, start_new_session=True,
        )  # fmt: skip
    try:
        yield Child(name, process, log)
    finally:
        await _end(process)


async def until_up(child: Child, url: str, wait: float) -> None:
    """Wait until `url` answers. Raises Unavailable with the child's last words when it ends or takes too long."""

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(url, timeout=2).ok
        return False

    await _until(child, lambda: asyncio.to_thread(answers), wait)


async def until_dead(child: Child) -> None:
    """Raise Unavailable when the child ends although nobody asked it to."""
    status = await child.process.wait()
    raise Unavailable(f"{child.name} ended (status {status}): {child.last_words()}; its log is {child.log}")


async def _until(child: Child, is_there: Callable[[], Awaitable[bool]], wait: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait
    while not await is_there():
        if child.process.returncode is not None:
            raise Unavailable(f"{child.name} did not start: {child.last_words()}; its log is {child.log}")
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"{child.name} did not answer within {wait:g} s: {child.last_words()}; see {child.log}")
        await asyncio.sleep(0.1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
