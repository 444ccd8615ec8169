"""Asking the core over HTTP, and comparing what it says with what the Go services said."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Said:
    """An answer over HTTP."""

    status: int
    content_type: str
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        return str(self.body["message"])


Ask = Callable[..., Said]


def ask_over_http(method: str, url: str, body: Any = None, *, data: bytes | None = None, kind: str = "") -> Said:
    """Send `body` as JSON, or `data` as it is."""
    headers = {"Content-Type": kind or "application/json"}
    payload = json.dumps(body).encode() if data is None and body is not None else data
    answer = requests.request(method, url, data=payload, headers=headers, timeout=20)
    return Said(answer.status_code, answer.headers.get("Content-Type", "").partition(";")[0], answer.text)


@pytest.fixture(scope="session")
def ask() -> Ask:
    return ask_over_http


def shape_of(value: Any) -> Any:
    """Keys and JSON types, nothing else."""
    if isinstance(value, dict):
        return {key: shape_of(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


@pytest.fixture(scope="session")
def shape() -> Callable[[Any], Any]:
    return shape_of


def timeless_of(value: Any) -> Any:
    """The same without what differs from run to run: ids, time stamps, and the order of what has one origin."""
    if isinstance(value, dict):
        return {key: timeless_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((timeless_of(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, str):
        return _UUID.sub("<id>", value)
    return "<time>" if isinstance(value, int) and not isinstance(value, bool) and 10**12 < value < 2 * 10**18 else value


@pytest.fixture(scope="session")
def timeless() -> Callable[[Any], Any]:
    return timeless_of


@pytest.fixture(scope="session")
def wire(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Recordings of the Go services: our own in tests/wire, else those beside the repository."""

    def load(name: str) -> Any:
        root = request.config.rootpath
        for place in (root / "tests" / "wire" / name, root.parent / "shared" / "wire" / name):
            if place.is_file():
                return json.loads(place.read_text())
        pytest.skip(f"no recording {name}")

    return load
