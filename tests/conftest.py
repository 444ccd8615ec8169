"""What every test may stand on: a real broker, a running EdgeX core, names of its own, and guards against leaks."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from edgex_standin.address import Address, free_port
from edgex_standin.broker.broker import open_broker
from edgex_standin.broker.mosquitto import find_mosquitto
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
START_WAIT = 60.0  # seconds
LEAK_WAIT = 3.0  # seconds a thread or child may take to go

# How long an example takes says how busy the machine is; what hangs is ended by the test's own timeout.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
pytest_plugins = ["tests.processes"]
os.environ.setdefault("EDGEX_SECURITY_SECRET_STORE", "false")  # what is not set is secure
os.environ.setdefault("DRIVER_ALLOWEDHOSTS", "*, localhost, 127.0.0.0/8, ::1")  # cameras of tests are on this machine
os.environ.setdefault("DRIVER_ALLOWEDPATHS", "*")
os.environ.setdefault("INFERENCE_PRECISION", "f32")  # results must not depend on the processor


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests that may take long come first, so that at the end no process is left alone with one."""
    longest: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0.0), float(marker.args[0]) if marker else 0.0)
    items.sort(key=lambda item: -longest[item.path])


@dataclass(frozen=True, slots=True)
class Edgex:
    """A running core: its four URLs and its broker."""

    keeper: str
    metadata: str
    data: str
    command: str
    broker: Address
    process: "subprocess.Popen[str]"

    @property
    def provider(self) -> str:
        """What a service is given with -cp."""
        return f"keeper.{self.keeper}"


OpenStandin = Callable[..., AbstractContextManager[Edgex]]


@contextlib.contextmanager
def run_standin(*options: str, environ: dict[str, str] | None = None) -> Iterator[Edgex]:
    """`edgex-standin` on free ports, as a person starts it; ended with SIGTERM."""
    ports = [f"--{name}-port=0" for name in ("keeper", "metadata", "data", "command", "broker")]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgex_standin", "--announce", *ports, *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environ or {})},
    )
    try:
        yield _edgex_from_announcement(process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _edgex_from_announcement(process: "subprocess.Popen[str]") -> Edgex:
    assert process.stdout is not None
    timer = threading.Timer(START_WAIT, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    timer.join()
    assert line, f"edgex-standin ended with code {process.wait()} before it was up"
    said = json.loads(line)
    urls = {name: said[name] for name in ("keeper", "metadata", "data", "command")}
    return Edgex(**urls, broker=Address(said["broker"]["host"], said["broker"]["port"]), process=process)


@contextlib.contextmanager
def run_broker(port: int) -> Iterator[Address]:
    """mosquitto, or the embedded broker in a process of its own: amqtt leaves sockets to the garbage collector."""
    if find_mosquitto() is not None:
        with open_broker("mosquitto", LOOPBACK, port) as running:
            yield running.address
    else:
        silent = "--base-topic=nobody"  # its core has nothing to say on the topics of tests
        with run_standin("--state=:memory:", "--broker=embedded", f"--broker-port={port}", silent) as edgex:
            yield edgex.broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Address]:
    """A broker of this test session: mosquitto where it is installed, else the embedded one."""
    with run_broker(0) as address:
        yield address


class PrivateBroker:
    """A broker that a test may stop and start again on the same port."""

    def __init__(self) -> None:
        self.address = Address(LOOPBACK, free_port(LOOPBACK))
        self._open = contextlib.ExitStack()
        self.start()

    def start(self) -> None:
        self._open.enter_context(run_broker(self.address.port))

    def stop(self) -> None:
        self._open.close()


@pytest.fixture
def private_broker() -> Iterator[PrivateBroker]:
    """A broker of this test alone."""
    running = PrivateBroker()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def edgex(broker: Address) -> Iterator[Edgex]:
    """A core of this test session; tests keep apart by `unique` names."""
    with run_standin("--state=:memory:", f"--broker={broker}", "--request-timeout=2s") as running:
        yield running


@pytest.fixture(scope="session")
def open_standin() -> OpenStandin:
    """Starts cores of a test's or a module's own: `with open_standin("--state", str(folder)) as edgex`."""
    return run_standin


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name nobody else uses, to be read in logs as this test's: for devices, services, topics."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower()).strip("-")
    return f"{words[:40].rstrip('-')}-{zlib.crc32(request.node.nodeid.encode()):08x}"


@pytest.fixture(scope="session")
def media() -> Path:
    """Real models, videos and pictures, where they are at hand."""
    named = os.environ.get("EDGEX_VISION_MEDIA")
    folder = Path(named) if named else ROOT.parent / "shared" / "media"
    if not folder.is_dir():
        pytest.skip(f"no media at {folder}; set EDGEX_VISION_MEDIA")
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a task, a thread or a child process behind fails."""
    if asyncio.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_is_left")
    threads, children = set(threading.enumerate()), _children()
    yield
    _gone_soon(lambda: [one for one in threading.enumerate() if one not in threads and _is_leak(one)])
    _gone_soon(lambda: sorted(_children() - children))


@pytest.fixture
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    for _ in range(3):  # a cancelled task ends in the next turns of the loop
        await asyncio.sleep(0)
    own = asyncio.current_task()
    left = [task.get_name() for task in asyncio.all_tasks() if task is not own and not task.done()]
    assert not left, f"tasks left running: {left}"


def _is_leak(thread: threading.Thread) -> bool:
    pooled = thread.name.startswith("asyncio_")  # the loop's own executor, closed with the loop
    return thread.is_alive() and not pooled and (not thread.daemon or thread.name.startswith("paho"))


def _children() -> set[str]:
    """Command lines of our child processes, where the kernel tells."""
    found = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(listing.read_text().split())
    return found


def _gone_soon(left: Callable[[], list[Any]]) -> None:
    deadline = time.monotonic() + LEAK_WAIT
    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left(), f"left behind: {left()}"
