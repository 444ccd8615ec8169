"""Device services over HTTP: requests on its own threads, so that a slow device delays nobody else."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests
from edgex_kit.clients.http import open_session
from edgex_kit.wire.errors import Unavailable
from edgex_kit.wire.messages import JSON, new_id

AT_ONCE = 16  # commands on their way
GRACE = 0.5  # seconds, so that the limit of the HTTP request itself comes first


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device service said."""

    status: int
    content_type: str
    body: bytes


class Relay:
    """Made by `open_relay`."""

    def __init__(self, threads: ThreadPoolExecutor, wait: float) -> None:
        self._threads = threads
        self._wait = wait + GRACE
        self._local = threading.local()  # a requests session belongs to one thread

    async def call(self, method: str, url: str, query: str, body: bytes | None = None) -> Answer:
        """The answer, whatever its status. Raises Unavailable without one."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, method, f"{url}?{query}" if query else url, body)

    def _call(self, method: str, url: str, body: bytes | None) -> Answer:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = open_session()
        headers = {"X-Correlation-ID": new_id(), "Content-Type": JSON}  # a new id: core-command does not pass it on
        try:
            answer = session.request(method, url, data=body, headers=headers, timeout=self._wait)
        except (requests.RequestException, ValueError) as error:  # ValueError: a baseAddress that is no URL
            raise Unavailable("failed to send a http request") from error
        return Answer(answer.status_code, answer.headers.get("Content-Type", ""), answer.content)


@contextlib.contextmanager
def open_relay(wait: float) -> Iterator[Relay]:
    """A relay for the length of the block; a command has `wait` seconds."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="relay") as threads:
        yield Relay(threads, wait)
