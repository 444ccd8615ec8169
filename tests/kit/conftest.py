"""What several test files of the kit stand on."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from edgex_kit.bus.bus import Bus, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.clients.keeper import Keeper
from edgex_kit.config.flags import parse_flags
from edgex_kit.service.configuration import Provider
from edgex_standin.address import Address
from edgex_standin.broker.mosquitto import find_mosquitto

from tests.kit.brokers import Certificates, Killable, run_mosquitto

WAIT = 20.0  # seconds
PRIVATE = """
Writable:
  LogLevel: INFO
Service:
  Host: localhost
  Port: 59985
  Open: true
Camera:
  Rate: 5.0
"""

Until = Callable[..., Awaitable[None]]
Open = Callable[..., Provider]
OpenClient = Callable[..., AbstractAsyncContextManager[Bus]]


@pytest.fixture
def until() -> Until:
    """Poll until something holds."""

    async def until(holds: Callable[[], object], wait: float = WAIT) -> None:
        deadline = time.monotonic() + wait
        while not holds():
            assert time.monotonic() < deadline, "it did not become so in time"
            await asyncio.sleep(0.01)

    return until


@pytest.fixture
def be_quick() -> Callable[[Bus], None]:
    """Let a bus try a lost broker again at once: nobody else is waiting for it in a test."""
    return lambda bus: bus._client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]


@pytest.fixture
def open_client(be_quick: Callable[[Bus], None]) -> OpenClient:
    """`async with open_client(address, "name") as bus`: a bus that is connected."""

    @asynccontextmanager
    async def open_client(address: Address, name: str, **options: Any) -> AsyncIterator[Bus]:
        async with open_bus(BusSettings(host=address.host, port=address.port, client_id=name, **options)) as bus:
            be_quick(bus)
            assert await bus.settle(WAIT)
            yield bus

    return open_client


@pytest.fixture
async def bus(open_client: OpenClient, broker: Address, unique: str) -> AsyncIterator[Bus]:
    """A client of the session's broker."""
    async with open_client(broker, unique) as opened:
        yield opened


@pytest.fixture
async def other(open_client: OpenClient, broker: Address, unique: str) -> AsyncIterator[Bus]:
    """Another client of the session's broker."""
    async with open_client(broker, f"{unique}-other") as opened:
        yield opened


@pytest.fixture
async def keeper(edgex: Any) -> AsyncIterator[Keeper]:
    """A client of the session's core-keeper."""
    client = Keeper(edgex.keeper)
    yield client
    client.close()


class Edgex(Protocol):
    keeper: str
    provider: str
    broker: Address


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    (tmp_path / "configuration.yaml").write_text(PRIVATE)
    return tmp_path


@pytest.fixture
async def open_provider(edgex: Edgex, packaged: Path, unique: str) -> AsyncIterator[Open]:
    """The provider of a service of this test, with flags of its own."""
    with contextlib.ExitStack() as opened:

        def open_provider(*argv: str) -> Provider:
            flags = parse_flags([f"-cp={edgex.provider}", *argv], {})
            found = Provider(unique, "device-services", flags, packaged)
            opened.callback(found.close)
            return found

        yield open_provider


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    try:
        return Certificates(tmp_path_factory.mktemp("certificates"))
    except FileNotFoundError:
        pytest.skip("openssl is not installed")


@pytest.fixture(scope="module")
def strict_broker(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A mosquitto that speaks TLS and lets in who shows a certificate."""
    with run_mosquitto(
        tmp_path_factory.mktemp("broker"),
        "allow_anonymous true",
        "require_certificate true",
        f"cafile {certificates.path('ca.crt')}",
        f"certfile {certificates.path('broker.crt')}",
        f"keyfile {certificates.path('broker.key')}",
    ) as address:
        yield address


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[Address]:
    """A mosquitto that knows `cam` by two passwords, as two users: the old one and the new."""
    if find_mosquitto() is None:  # mosquitto_passwd comes with it
        pytest.skip("mosquitto is not installed")
    passwords = tmp_path / "passwords"
    passwords.write_text("old:first-word\nnew:second-word\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True, timeout=20)
    passwords.chmod(0o600)
    with run_mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as address:
        yield address


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Killable]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    broker = Killable(Path(program), tmp_path)
    yield broker
    broker.kill()
