"""Child processes that end when this one does, however it ends.

Each is in a session of its own, so that Ctrl-C reaches only this process, which then stops them in order. When this
process is killed, the kernel stops them: see `demo.child`.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgex_kit.wire.errors import Unavailable

GRACE = 8.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True, slots=True)
class Child:
    """A running service."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_line(self) -> str:
        """The last line of its log, without the fields that only a machine reads."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].partition('msg="')[2].rstrip('"') or lines[-1] if lines else "its log is empty"


@contextlib.asynccontextmanager
async def running(name: str, module: str, *args: str, env: Mapping[str, str], log: Path) -> AsyncIterator[Child]:
    """Run `python -m module` for the length of the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command(module, *args), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **env}, start_new_session=True,
        )  # fmt: skip
    try:
        yield Child(name, process, log)
    finally:
        await _end(process)


def command(module: str, *args: str) -> list[str]:
    """The command line of a child that runs `module` and ends with this process."""
    return [sys.executable, "-m", "demo.child", str(os.getpid()), module, *args]


async def until_up(child: Child, answers: Callable[[], bool], wait: float) -> None:
    """Wait until `answers`, which may block, is true. Raises Unavailable with the log's last line after `wait` s."""
    deadline = asyncio.get_running_loop().time() + wait
    while not await asyncio.to_thread(answers):
        if child.process.returncode is not None:
            raise Unavailable(f"{child.name} did not start: {child.last_line()}; its log is {child.log}")
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"{child.name} did not answer within {wait:g} s: {child.last_line()}; see {child.log}")
        await asyncio.sleep(0.1)


async def until_dead(child: Child) -> None:
    """Raise Unavailable when the child ends by itself."""
    status = await child.process.wait()
    raise Unavailable(f"{child.name} ended (status {status}): {child.last_line()}; its log is {child.log}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
