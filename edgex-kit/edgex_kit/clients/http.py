"""Calls to other EdgeX services: requests on worker threads, its errors translated here and nowhere else."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from edgex_kit.wire import codec
from edgex_kit.wire.errors import Malformed, Unreachable, error_from_status
from edgex_kit.wire.messages import JSON, new_id
from edgex_kit.wire.redact import redact

Identify = Callable[[], Mapping[str, str]]  # headers that identify the caller; called on the calling thread


class HttpClient:
    """One other service. Every call may raise the error that its status stands for, or Unreachable when there is no
    answer, or none that can be understood. Any thread may call."""

    def __init__(self, base_url: str, *, name: str, wait: float = 5.0, identify: Identify = dict) -> None:
        self.base_url = base_url.rstrip("/")
        self.name = name
        self._wait = wait  # seconds
        self._identify = identify
        self._session = open_session()

    async def call(self, method: str, path: str, *, body: Any = None, params: dict[str, str] | None = None) -> Any:
        """Plain data of the answer, or None for an empty one."""
        return await asyncio.to_thread(self.call_now, method, path, body=body, params=params)

    async def fetch(self, path: str, key: str, *, params: dict[str, str] | None = None) -> Any:
        """The value of `key` in the answer to a GET."""
        answer = await self.call("GET", path, params=params)
        if not isinstance(answer, dict) or key not in answer:
            raise Unreachable(f"{self.name} at {redact(self.base_url)} answers without '{key}': it is no EdgeX service")
        return answer[key]

    def call_now(self, method: str, path: str, *, body: Any = None, params: dict[str, str] | None = None) -> Any:
        """The same, blocking."""
        headers = {"X-Correlation-ID": new_id(), "Content-Type": JSON, **self._identify()}
        data = codec.encode_json(body) if body is not None else None
        url = self.base_url + path
        try:
            answer = self._session.request(method, url, data=data, params=params, headers=headers, timeout=self._wait)
        except OSError as error:  # includes those of requests
            raise Unreachable(f"{self.name} at {redact(self.base_url)} does not answer: {_cause(error)}") from error
        if answer.status_code >= 400:
            raise error_from_status(answer.status_code, _message(answer))
        return self._understood(answer) if answer.content else None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _understood(self, answer: requests.Response) -> Any:
        try:
            return codec.decode_body(answer.headers.get("Content-Type", JSON), answer.content)
        except Malformed as error:
            raise Unreachable(
                f"{self.name} at {redact(self.base_url)} answers unlike an EdgeX service: {error}"
            ) from error


def fetch_text(url: str, wait: float) -> str:
    """The text at `url`, blocking. Raises Unreachable, or the error its status stands for.

    It may be outside the gateway, so a proxy of the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) is used, as by
    EdgeX's own services; calls between the services use none.
    """
    try:
        with open_session() as session:
            answer = session.get(url, timeout=wait, proxies=_proxies(url))
    except OSError as error:  # includes those of requests
        raise Unreachable(f"{redact(url)} does not answer: {_cause(error)}") from error
    if answer.status_code >= 400:
        raise error_from_status(answer.status_code, f"{redact(url)}: {answer.status_code} {answer.reason}")
    return answer.text


def open_session() -> requests.Session:
    """A session without proxy and .netrc of the environment: the peers are on the gateway's own network.

    REQUESTS_CA_BUNDLE names a private certificate authority."""
    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    return session


def _proxies(url: str) -> dict[str, str]:
    """The proxies of the environment for `url`; none for this machine itself, as in Go."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):  # a name
        if ip_address(host).is_loopback:
            return {}
    return {} if host == "localhost" else get_environ_proxies(url)


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200] or answer.reason


def _cause(error: OSError) -> str:
    if isinstance(error, requests.Timeout):
        return "timed out"
    if not isinstance(error, requests.RequestException):  # a file that REQUESTS_CA_BUNDLE names
        return str(error)
    text = str(error)
    return "connection refused" if "refused" in text else redact(text.rpartition(":")[2].strip(" ')(") or text)
