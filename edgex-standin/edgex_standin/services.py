"""The four services of the core: their apps, and all of them served at once."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from edgex_kit.config.settings import Tree
from edgex_kit.service.rest import Endpoint, Json
from edgex_kit.service.server import serve_on
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid, Malformed
from edgex_kit.wire.messages import API, JSON, SecretRequest
from edgex_kit.wire.topics import escape_name
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from edgex_standin.command.command import Commands, Relay, open_relay
from edgex_standin.command.command_bus import CommandBus
from edgex_standin.core import COMMAND, DATA, KEEPER, METADATA, Core
from edgex_standin.data.intake import Intake
from edgex_standin.data.routes import Events, Readings
from edgex_standin.keeper import kv
from edgex_standin.keeper.common_config import configuration_of
from edgex_standin.keeper.keeper import Keys
from edgex_standin.keeper.registry import HealthChecks, Registry, open_health_checks, register_ourselves
from edgex_standin.metadata.metadata import metadata_routes
from edgex_standin.store import Store
from edgex_standin.web import app_of, route


def secret_of(store: Store, service: str) -> Endpoint:
    """The endpoint for one service."""

    async def secret(request: Request) -> Response:
        try:
            wanted = codec.convert(codec.decode_body(JSON, await request.body()), SecretRequest)
        except Malformed as error:  # its text could quote the secret
            raise Invalid("JSON decode failed") from error
        values = {pair.key: pair.value for pair in wanted.secret_data}
        if not wanted.secret_name.strip() or not values or not all((*values.keys(), *values.values())):
            raise Invalid("JSON decode failed")
        tree = {"SecretName": wanted.secret_name, "SecretData": values}
        key = f"edgex/v4/{service}/Writable/InsecureSecrets/{escape_name(wanted.secret_name)}"
        await store.run(lambda db: kv.put_flat(db, key, tree))
        head = {"requestId": wanted.request_id} if wanted.request_id else {}
        return Json({"apiVersion": API, **head, "statusCode": 201}, 201)

    return secret


@contextlib.asynccontextmanager
async def serve_core(core: Core, sockets: Mapping[str, socket.socket]) -> AsyncIterator[None]:
    """Everything the core does, over REST and on the bus, for the length of the block."""
    await register_ourselves(core)
    with open_relay(core.service.timeout_s) as relay:
        async with open_health_checks(core) as checks, _listen(core), _serve(_apps(core, checks, relay), sockets):
            yield


def _apps(core: Core, checks: HealthChecks, relay: Relay) -> dict[str, ASGIApp]:
    routes = {
        KEEPER: [*Keys(core).routes(), *Registry(core, checks).routes()],
        METADATA: metadata_routes(core),
        DATA: [*Events(core).routes(), *Readings(core).routes()],
        COMMAND: Commands(core, relay).routes(),
    }
    apps = {}
    for name, own in routes.items():
        secret = route("POST", "/secret", secret_of(core.store, name))
        apps[name] = app_of(name, [secret, *own], _constant(configuration_of(core, name)), core.service)
    return apps


def _constant(tree: Tree) -> Callable[[], Tree]:
    return lambda: tree


@contextlib.asynccontextmanager
async def _listen(core: Core) -> AsyncIterator[None]:
    """core-data and core-command on the bus."""
    async with asyncio.TaskGroup() as tasks:
        takers = (Intake(core).run(), CommandBus(core).run())
        running = [tasks.create_task(taker) for taker in takers]
        await asyncio.sleep(0)  # both have subscribed when they first wait
        try:
            yield
        finally:
            for task in running:
                task.cancel()


@contextlib.asynccontextmanager
async def _serve(apps: Mapping[str, ASGIApp], sockets: Mapping[str, socket.socket]) -> AsyncIterator[None]:
    """All apps, started and stopped side by side."""
    stop = asyncio.Event()

    async def serve(app: ASGIApp, sock: socket.socket, is_up: "asyncio.Future[Any]") -> None:
        async with serve_on(app, sock):
            is_up.set_result(None)
            await stop.wait()

    async with asyncio.TaskGroup() as servers:
        ups = []
        for name, sock in sockets.items():
            is_up = asyncio.get_running_loop().create_future()
            ups.append(is_up)
            servers.create_task(serve(apps[name], sock, is_up), name=name)
        try:
            await asyncio.gather(*ups)
            yield
        finally:
            stop.set()
