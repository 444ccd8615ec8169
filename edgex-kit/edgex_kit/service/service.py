"""An EdgeX service from start to stop: configuration that is followed, the bus, the registry.

async def main(service: Service[MySettings]) -> None: ...
sys.exit(run(main, "device-camera", "device-services", MySettings, packaged=...))
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from edgex_kit.bus.bus import Bus, follow_credentials, open_configured_bus
from edgex_kit.bus.connection import BusSettings, bus_settings
from edgex_kit.clients.http import HttpClient
from edgex_kit.clients.keeper import Keeper
from edgex_kit.clients.metadata import Metadata
from edgex_kit.clients.secrets import Secrets
from edgex_kit.clients.secretstore import StoredSecrets, open_secret_store
from edgex_kit.config.flags import Flags, parse_flags
from edgex_kit.config.settings import Settings
from edgex_kit.service import metrics
from edgex_kit.service.configuration import Live, Provider
from edgex_kit.service.logs import set_level, setup_logging
from edgex_kit.service.memory import keep_freed_memory
from edgex_kit.service.metrics import Metrics
from edgex_kit.service.ports import bind_within
from edgex_kit.service.rest import Guard
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.topics import Topics

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)

STOP_S = 8.0  # seconds from the signal to the end of the process; Docker kills after 10
_DEREGISTER_S = 2.0
_DESCRIPTORS = 65_536


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """A running service."""

    name: str
    flags: Flags
    live: Live[S]
    provider: Provider
    secrets: Secrets
    bus: Bus
    topics: Topics
    metadata: Metadata
    metrics: Metrics
    socket: socket.socket  # listens at Service.Port; closed at the end
    encoding: Encoding = field(default_factory=Encoding.from_environment)
    stored_secrets: StoredSecrets | None = None  # in secure mode

    @property
    def settings(self) -> S:
        """The settings in force."""
        return self.live.now

    @property
    def port(self) -> int:
        """The port that we listen at, also when Service.Port is 0."""
        return int(self.socket.getsockname()[1])

    @property
    def waits_for(self) -> list[str]:
        """What readiness still waits for: the broker, unless MessageBus.Disabled."""
        return [] if self.bus.is_connected or self.settings.message_bus.disabled else ["the message broker"]

    @property
    def guard(self) -> Guard | None:
        """Who may call our REST API: in secure mode, callers with a valid token of EdgeX's."""
        if self.stored_secrets is None or os.environ.get("EDGEX_DISABLE_JWT_VALIDATION", "").lower() == "true":
            return None
        return self.stored_secrets.is_valid

    async def follow(self) -> None:
        """Apply changes of the configuration and of the broker's credentials until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if not self.settings.message_bus.disabled:
                tasks.create_task(follow_credentials(self.bus, self.secrets, self._bus_settings))
            async for layers in self.provider.changes(self.bus):
                self.live.replace(layers)

    def _bus_settings(self) -> BusSettings:
        return bus_settings(self.settings, self.secrets, self.name)

    async def report(self) -> None:
        """Publish telemetry until cancelled."""
        await metrics.report(
            self.metrics, self.bus, self.topics, lambda: self.settings.writable.telemetry, self.encoding
        )

    @contextlib.asynccontextmanager
    async def registered(self, port: int) -> AsyncIterator[None]:
        """In the registry for the length of the block when -r was given; HALT at its end."""
        keeper, own = self.provider.keeper, self.settings.service
        if keeper is None or not self.flags.registry:
            yield
            return
        await self._warn_of_another(keeper, port)

        async def register() -> None:
            await keeper.register(self.name, own.host, port, own.health_check_interval)

        await register()
        self.provider.on_restored = register
        try:
            yield
        finally:
            self.provider.on_restored = None
            # A registry that is gone has no entry to change, and one that hangs must not hold up the stop.
            with contextlib.suppress(EdgexError, TimeoutError):
                async with asyncio.timeout(_DEREGISTER_S):
                    await keeper.deregister(self.name, own.host, port, own.health_check_interval)

    async def _warn_of_another(self, keeper: Keeper, port: int) -> None:
        """Log when the registry has a service of our key elsewhere that answers."""
        try:
            url = await keeper.find(self.name)
            other = HttpClient(url, name=self.name, wait=2.0)
            try:
                name = await other.fetch("/api/v3/ping", "serviceName")
            finally:
                other.close()
        except EdgexError:  # nobody of this key, or it is gone
            return
        if name == self.name and not url.endswith(f":{port}"):
            log.warning(
                "another service '%s' runs at %s: both would answer for the same devices; -i gives this one a name "
                "of its own",
                self.name,
                url,
            )


@contextlib.asynccontextmanager
async def open_service(
    name: str, kind: str, settings: type[S], flags: Flags, packaged: Path
) -> AsyncIterator[Service[S]]:
    """Load the configuration, open the bus, and close all of it in the end.

    `kind` is "device-services" or "app-services"; `packaged` is the folder of the configuration file that ships with
    the service. Raises Invalid for a configuration that cannot be used, Unavailable when core-keeper does not answer.
    """
    key = flags.service_key.replace("<profile>", flags.profile) if flags.service_key else name
    key = f"{key}_{flags.instance}" if flags.instance else key
    async with contextlib.AsyncExitStack() as opened:
        stored = await opened.enter_async_context(open_secret_store(key, flags.startup_s, flags.interval_s))
        identify = stored.store.identity if stored is not None else dict
        provider = Provider(key, kind, flags, packaged, settings=settings, identify=identify)
        opened.callback(provider.close)
        live = Live(settings, await provider.load(), flags.remote_hosts)
        secrets = Secrets(key, lambda: live.now.writable.insecure_secrets, provider.keeper, stored)
        live.on_change(lambda _: secrets.check())
        secrets.on_stored = provider.read_soon
        setup_logging(key, lambda: [*secrets.values()])
        set_level(live.now.writable.log_level)
        live.on_change(lambda now: set_level(now.writable.log_level))
        # The port before the broker: a second service of this key that cannot start must not take the client id, since
        # the broker then disconnects the first one (MQTT 3.1.1, 3.1.4).
        own = live.now.service
        sock = opened.enter_context(await bind_within(own.bind_host, own.port, flags.startup_s))
        topics = Topics(live.now.message_bus.base_topic_prefix or "edgex", own.enable_name_field_escape)
        locate = _locate(live, provider.keeper if flags.registry else None)
        metadata = Metadata(locate, escape=topics.escape, identify=identify)
        opened.callback(metadata.close)
        bus = await opened.enter_async_context(open_configured_bus(live.now, secrets, key))
        yield Service(
            key, flags, live, provider, secrets, bus, topics, metadata, Metrics(key), sock, stored_secrets=stored
        )


def run(
    main: Callable[[Service[S]], Awaitable[None]],
    name: str,
    kind: str,
    settings: type[S],
    packaged: Path,
    argv: Sequence[str] | None = None,
) -> int:
    """Run `main` until it returns or a signal ends it; the exit status. A failed start logs its cause in one line."""
    keep_freed_memory()
    _raise_descriptor_limit()
    setup_logging(name, list)
    try:
        flags = parse_flags(sys.argv[1:] if argv is None else argv, prog=name)
        return asyncio.run(_until_signalled(main, name, kind, settings, flags, packaged))
    except EdgexError as error:
        log.error("%s cannot go on: %s", name, error)  # noqa: TRY400 - one line, not a traceback, is what a person needs
        return 1


async def _until_signalled(
    main: Callable[[Service[S]], Awaitable[None]], name: str, kind: str, settings: type[S], flags: Flags, packaged: Path
) -> int:
    async def serve() -> None:
        async with open_service(name, kind, settings, flags, packaged) as service:
            await main(service)

    serving = asyncio.create_task(serve(), name=name)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not serving.cancelling():
            _end_within(STOP_S, name)
        serving.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("%s stopped", name)
    except BaseExceptionGroup as group:
        raise first_of(group) from group
    return 0


def _end_within(seconds: float, name: str) -> None:
    """End the process when it has not ended by itself: a peer that hangs may hold up any of its threads."""

    def end() -> None:
        log.error("%s did not stop within %g s and is ended", name, seconds)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _raise_descriptor_limit() -> None:
    """Allow as many file descriptors as the system lets this process have; shells often start with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error inside a group, which is the one reported."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _locate(live: Live[S], registry: Keeper | None) -> Callable[[], Awaitable[str]]:
    """Where core-metadata is: as the registry says with -r, else as configured."""

    async def fixed() -> str:
        return live.now.client("core-metadata", 59881).url

    async def registered() -> str:
        assert registry is not None
        return await registry.find("core-metadata")

    return fixed if registry is None else registered
