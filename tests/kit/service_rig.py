"""A small whole service, and what it says while it runs as a process."""

import os
import queue
import subprocess
import threading
from typing import Any

import requests

PROGRAM = """
import asyncio, sys
from pathlib import Path
from edgex_kit.service.rest import build_app, common_routes
from edgex_kit.service.server import open_server
from edgex_kit.service.service import run
from edgex_kit.config.settings import Settings

async def main(service):
    own = service.settings.service
    app = build_app(common_routes(service.name, lambda: service.live.tree, service.secrets), own)
    async with (
        open_server(app, own.bind_host, own.port) as port,
        service.registered(port),
        asyncio.TaskGroup() as tasks,
    ):
        print(f"ready {port}", flush=True)
        if own.startup_msg == "end":
            return
        tasks.create_task(service.follow())
        tasks.create_task(service.report())
        if own.startup_msg == "fail":
            raise RuntimeError("a bug")
        await asyncio.Event().wait()

sys.exit(run(main, "device-cam", "device-services", Settings, Path(sys.argv.pop(1))))
"""


class Running:
    """A service in a process of its own, what it said, and how it ended."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        own = {key: value for key, value in os.environ.items() if not key.startswith("EDGEX_")}
        self.process = subprocess.Popen(
            command,
            env={**own, "EDGEX_SECURITY_SECRET_STORE": "false", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors: list[str] = []
        self._out: queue.Queue[str] = queue.Queue()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=lambda: [self._out.put(line.strip()) for line in self.process.stdout or ()]),
            threading.Thread(target=lambda: self.errors.extend(line.strip() for line in self.process.stderr or ())),
        ]
        for reader in self._readers:
            reader.start()

    def port(self) -> int:
        """Where it serves, once it does."""
        said = self._out.get(timeout=15)
        assert said.startswith("ready "), said
        return int(said.split()[1])

    def get(self, port: int, path: str) -> Any:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).json()

    def ended(self, wait: float = 15) -> int:
        """Its exit status."""
        code = self.process.wait(wait)
        for reader in self._readers:
            reader.join()
        return code

    def end(self) -> None:
        self.process.kill()
        self.ended()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
