"""`edgex-standin`: the program, from the command line to the running core."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping

import msgspec
from edgex_kit.bus.bus import Bus, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service.logs import setup_logging
from edgex_kit.service.ports import bind
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.topics import Topics

from edgex_standin.address import Address
from edgex_standin.broker.broker import Broker, open_broker
from edgex_standin.core import Core
from edgex_standin.keeper import common_config
from edgex_standin.options import Options, parse_options
from edgex_standin.services import serve_core
from edgex_standin.store import open_store

log = logging.getLogger("edgex-standin")

WHAT_IT_IS_NOT = "a stand-in for EdgeX's core: no security, one process, one machine; not for production"


def main() -> int:
    """Run until SIGINT or SIGTERM; returns 0 after a clean end, 1 after an error, which is logged in one line."""
    setup_logging("edgex-standin", lambda: ())
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _exit)  # until the event loop takes them over
    try:
        options = parse_options()
        with contextlib.ExitStack() as claimed:
            sockets = {name: claimed.enter_context(bind(options.host, port)) for name, port in options.ports.items()}
            with open_broker(options.broker, options.host, options.broker_port) as broker:
                asyncio.run(_run(options, sockets, broker))
    except EdgexError as error:
        log.error("cannot go on: %s", error)  # noqa: TRY400 - a person needs the line, not a traceback
        return 1
    return 0


def _exit(_signum: int, _frame: object) -> None:
    """Exit through every `with` block."""
    sys.exit(0)


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
            broker=_advertised(broker, options),
            service=ServiceSection(
                host=options.advertise,
                request_timeout=options.request_timeout,
                enable_name_field_escape=options.escape_names,
            ),
            keep_events=options.keep_events,
            keep_bytes=options.keep_megabytes * 1024 * 1024,
        )
        await store.run(lambda db: common_config.seed(db, core))
        async with serve_core(core, sockets):
            if broker.kind != "external":
                await bus.settle(5)
            _announce(core, broker, options)
            await _watch(broker, stop)
        log.info("stopped")


def _open_bus(broker: Broker) -> contextlib.AbstractAsyncContextManager[Bus]:
    # a client id of its own: of two clients with one id the broker always ends the older (MQTT 3.1.1, 3.1.4)
    return open_bus(BusSettings(broker.address.host, broker.address.port, f"edgex-standin-{os.getpid()}"))


def _advertised(broker: Broker, options: Options) -> Address:
    return broker.address if broker.kind == "external" else Address(options.advertise, broker.address.port)


async def _watch(broker: Broker, stop: asyncio.Event) -> None:
    """Wait for a signal; a broker that has died meanwhile is started again."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await stop.wait()
        if not stop.is_set():
            broker.revive()


def _announce(core: Core, broker: Broker, options: Options) -> None:
    log.info("%s", WHAT_IT_IS_NOT)
    if options.host not in ("127.0.0.1", "::1", "localhost"):
        log.warning("every client that reaches %s can read and change everything here", options.host)
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
