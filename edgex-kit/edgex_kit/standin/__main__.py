"""`edgex-standin`: the table of contents of an EdgeX core in one process."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping

import msgspec

from edgex_kit.bus import Bus, BusSettings, open_bus
from edgex_kit.errors import EdgexError
from edgex_kit.logs import setup_logging
from edgex_kit.server import bind, serve_on
from edgex_kit.settings import ServiceSection
from edgex_kit.standin import common_config
from edgex_kit.standin.address import Address
from edgex_kit.standin.broker import Broker, open_broker
from edgex_kit.standin.command import Commands
from edgex_kit.standin.command_bus import CommandBus
from edgex_kit.standin.core import COMMAND, DATA, KEEPER, METADATA, Core
from edgex_kit.standin.core_secrets import secret_of
from edgex_kit.standin.data_events import Events
from edgex_kit.standin.data_intake import Intake
from edgex_kit.standin.data_readings import Readings
from edgex_kit.standin.health import open_health_checks
from edgex_kit.standin.keeper import Keys
from edgex_kit.standin.metadata import metadata_routes
from edgex_kit.standin.options import Options, parse_options
from edgex_kit.standin.registry import Registry, register_ourselves
from edgex_kit.standin.relay import open_relay
from edgex_kit.standin.store import open_store
from edgex_kit.standin.web import app_of, route
from edgex_kit.topics import Topics

log = logging.getLogger("edgex-standin")

WHAT_IT_IS_NOT = "a stand-in for EdgeX's core: no security, one process, one machine; not for production"


def main() -> int:
    """Run until SIGINT or SIGTERM; 0 after a clean end, 1 with one line that says what stood in the way."""
    setup_logging("edgex-standin", lambda: ())
    try:
        options = parse_options()
        with contextlib.ExitStack() as claimed:
            sockets = {name: claimed.enter_context(bind(options.host, port)) for name, port in options.ports.items()}
            with open_broker(options.broker, options.host, options.broker_port) as broker:
                asyncio.run(_run(options, sockets, broker))
    except EdgexError as error:
        log.error("cannot start: %s", error)  # noqa: TRY400 - a person needs the line, not a traceback
        return 1
    return 0


async def _run(options: Options, sockets: Mapping[str, socket.socket], broker: Broker) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    places = {name: Address(options.advertise, sock.getsockname()[1]) for name, sock in sockets.items()}
    async with open_store(options.state) as store, _open_bus(broker) as bus:
        core = Core(
            store=store,
            bus=bus,
            topics=Topics(options.base_topic, options.escape_names),
            places=places,
            broker=_as_others_reach(broker, options),
            service=ServiceSection(
                request_timeout=options.request_timeout, enable_name_field_escape=options.escape_names
            ),
            keep_events=options.keep_events,
            keep_bytes=options.keep_megabytes * 1024 * 1024,
        )
        await store.run(lambda db: common_config.seed(db, core))
        async with _listen(core), _serve(core, sockets):
            if broker.kind != "external":
                await bus.settle(5)
            _announce(core, broker, options)
            await _watch(broker, stop)
        log.info("stopped")


@contextlib.asynccontextmanager
async def _serve(core: Core, sockets: Mapping[str, socket.socket]) -> AsyncIterator[None]:
    """The four services for the length of the block."""
    async with contextlib.AsyncExitStack() as opened:
        await register_ourselves(core)
        checks = await opened.enter_async_context(open_health_checks(core))
        relay = opened.enter_context(open_relay(core.service.timeout_s))
        routes = {
            KEEPER: [*Keys(core).routes(), *Registry(core, checks).routes()],
            METADATA: metadata_routes(core),
            DATA: [*Events(core).routes(), *Readings(core).routes()],
            COMMAND: Commands(core, relay).routes(),
        }
        for name, sock in sockets.items():
            tree = common_config.configuration_of(core, name)
            secret = route("POST", "/secret", secret_of(core.store, name))
            app = app_of(name, [secret, *routes[name]], lambda tree=tree: tree, core.service)  # type: ignore[misc]
            await opened.enter_async_context(serve_on(app, sock))
        yield


@contextlib.asynccontextmanager
async def _listen(core: Core) -> AsyncIterator[None]:
    """What core-data and core-command take from the bus, for the length of the block."""
    async with asyncio.TaskGroup() as tasks:
        takers = (Intake(core).run(), CommandBus(core).run())
        running = [tasks.create_task(taker) for taker in takers]
        await asyncio.sleep(0)  # both have subscribed when they first wait
        try:
            yield
        finally:
            for task in running:
                task.cancel()


def _open_bus(broker: Broker) -> contextlib.AbstractAsyncContextManager[Bus]:
    return open_bus(BusSettings(broker.address.host, broker.address.port, "edgex-standin"))


def _as_others_reach(broker: Broker, options: Options) -> Address:
    return broker.address if broker.kind == "external" else Address(options.advertise, broker.address.port)


async def _watch(broker: Broker, stop: asyncio.Event) -> None:
    """Until a signal; meanwhile a broker that died is started again."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await stop.wait()
        if not stop.is_set():
            broker.revive()


def _announce(core: Core, broker: Broker, options: Options) -> None:
    log.info("%s", WHAT_IT_IS_NOT)
    for name, place in core.places.items():
        log.info("%s at %s", name, place.url)
    log.info("broker (%s) at %s; state in %s", broker.kind, core.broker, options.state)
    if options.announce:
        where = {name.removeprefix("core-"): place.url for name, place in core.places.items()}
        bus = {"host": core.broker.host, "port": core.broker.port, "kind": broker.kind}
        sys.stdout.write(msgspec.json.encode({**where, "broker": bus}).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
