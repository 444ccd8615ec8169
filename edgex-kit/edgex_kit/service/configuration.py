"""The configuration of a service: from core-keeper or files, and its changes while the service runs."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from edgex_kit.bus.bus import Bus, Message
from edgex_kit.bus.queues import Latest
from edgex_kit.clients.http import Identify, fetch_text
from edgex_kit.clients.keeper import COMMON, ROOT, Keeper
from edgex_kit.config import layers as config
from edgex_kit.config.flags import Flags, is_uri
from edgex_kit.config.settings import Settings, Tree
from edgex_kit.service.ports import own_address
from edgex_kit.supervision import Causes, every, retry
from edgex_kit.wire import topics
from edgex_kit.wire.errors import EdgexError, Invalid, Unavailable
from edgex_kit.wire.redact import redact

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)

ALL_SERVICES = "all-services"
REREAD = 60.0  # seconds after which core-keeper is read again without a change message


@dataclass(frozen=True, slots=True)
class Layers:
    """Three trees, weakest first, and the source of the last one."""

    all_services: Tree = field(default_factory=dict)
    kind: Tree = field(default_factory=dict)  # app-services or device-services
    private: Tree = field(default_factory=dict)
    origin: str = "file"

    def named(self) -> tuple[tuple[str, Tree], ...]:
        """The trees with their names in errors."""
        return (
            ("common configuration, all-services", self.all_services),
            ("common configuration of this kind of service", self.kind),
            (f"private configuration, {self.origin}", self.private),
        )

    def merged(self) -> Tree:
        """All three as one."""
        return config.merge(self.all_services, self.kind, self.private)


class Provider:
    """The configuration of one service; `kind` is "device-services" or "app-services"."""

    def __init__(self, service: str, kind: str, flags: Flags, packaged: Path, *, identify: Identify = dict) -> None:
        self.service = service
        self.keeper = Keeper(flags.provider, identify=identify) if flags.provider else None
        self._kind = kind
        self._flags = flags
        self._packaged = packaged
        self._known = Layers()
        self._causes = Causes()
        self._hints: Latest[bool] = Latest()
        self._heard: Bus | None = None  # the bus whose connects we listen to

    async def load(self, environ: Mapping[str, str] = os.environ) -> Layers:
        """All layers. Waits for core-keeper as long as EDGEX_STARTUP_DURATION allows, then raises Unavailable."""
        private = config.override(await self._read_yaml(self._flags.config_place(self._packaged)), environ)
        if self.keeper is None:
            return await self._from_files(private, environ)
        await self._until_ready(self.keeper)
        await self._push(self.keeper, private)
        self._known = await self.read()
        if not self._known.all_services or not self._known.kind:
            raise Unavailable(f"core-keeper holds no common configuration '{ALL_SERVICES}' and '{self._kind}'")
        return self._known

    async def read(self) -> Layers:
        """All layers as core-keeper has them now."""
        if self.keeper is None:
            raise Unavailable("there is no configuration provider to read from")
        common = await self.keeper.values(COMMON)
        key = f"{ROOT}/{self.service}"
        private = config.tree_from_keys(await self.keeper.values(key), key)
        return Layers(
            config.tree_from_keys(common, f"{COMMON}/{ALL_SERVICES}"),
            config.tree_from_keys(common, f"{COMMON}/{self._kind}"),
            private,
            "core-keeper",
        )

    async def changes(self, bus: Bus) -> AsyncIterator[Layers]:
        """New layers after each change; those of `load` are known already.

        Core-keeper is read again after a change message, a new connection to the broker, and REREAD seconds. Stale
        messages, and common keys that a stronger layer covers, thus change nothing.
        """
        if self.keeper is None:
            return
        with self._listening(bus):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REREAD):
                        await self._hints.get()
                layers = await self._read_again()
                if layers.merged() != self._known.merged():
                    self._known = layers
                    yield layers

    def read_soon(self) -> None:
        """Have `changes` read core-keeper now: we have stored something there, and the bus may be disconnected."""
        self._hint()

    def close(self) -> None:
        """Close the connections."""
        if self.keeper is not None:
            self.keeper.close()

    @contextlib.contextmanager
    def _listening(self, bus: Bus) -> Iterator[None]:
        """Read core-keeper now, at each connect, and at each change of one of our keys."""
        prefixes = (f"{ROOT}/{self.service}", f"{COMMON}/{ALL_SERVICES}", f"{COMMON}/{self._kind}")
        patterns = [topics.config_change(f"{prefix}/Writable/#") for prefix in prefixes]
        for pattern in patterns:
            bus.subscribe(pattern, self._hint)
        if self._heard is not bus:  # this listener stays as long as the bus
            self._heard = bus
            bus.on_connected(self._hint)
        self._hint()
        try:
            yield
        finally:
            for pattern in patterns:
                bus.unsubscribe(pattern, self._hint)

    def _hint(self, _message: Message | None = None) -> None:
        self._hints.put(True)

    async def _read_again(self) -> Layers:
        """The layers of core-keeper now, or the last ones when it does not answer."""
        try:
            layers = await self.read()
        except EdgexError as error:
            if self._causes.is_new(error):
                log.warning("the configuration cannot be read again: %s", error)
            return self._known
        self._causes.clear()
        return layers

    async def _until_ready(self, keeper: Keeper) -> None:
        async def check() -> None:
            await keeper.ping()
            ready = await keeper.values(f"{COMMON}/IsCommonConfigReady")
            if ready.get(f"{COMMON}/IsCommonConfigReady") != "true":
                raise Unavailable("core-common-config-bootstrapper has not stored the common configuration")

        wait, interval = self._flags.startup_s, every(self._flags.interval_s)
        await retry(check, "waiting for core-keeper", backoff=interval, within=wait, level=logging.INFO)

    async def _push(self, keeper: Keeper, private: Tree) -> None:
        """Store the file's keys that core-keeper lacks; all of them with -o."""
        prefix = f"{ROOT}/{self.service}"
        known = {} if self._flags.overwrite else await keeper.values(prefix)
        for path, value in config.leaves(private):
            key = "/".join((prefix, *path))
            if key not in known:
                await keeper.put(key, config.text_of(value))

    async def _from_files(self, private: Tree, environ: Mapping[str, str]) -> Layers:
        if not self._flags.common_file:
            return Layers(private=private)
        common = config.override(await self._read_yaml(self._flags.common_file), environ)
        return Layers(common.get(ALL_SERVICES, {}), common.get(self._kind, {}), private)

    async def _read_yaml(self, place: str) -> Tree:
        try:
            if is_uri(place):
                text = await asyncio.to_thread(fetch_text, place, self._flags.uri_wait_s)
            else:
                text = await asyncio.to_thread(Path(place).read_text, encoding="utf-8")
            tree: Any = yaml.safe_load(text)
        except OSError as error:
            raise Invalid(f"configuration file '{place}' cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Invalid(f"configuration file '{redact(place)}' is no YAML: {str(error).splitlines()[0]}") from error
        if not isinstance(tree, dict):
            raise Invalid(f"configuration file '{redact(place)}' holds no sections")
        return tree


def remote_hosts(tree: Tree, hosts: tuple[str, ...]) -> Tree:
    """The layer of `-rsh a,b,c` over `tree`: this host, the host of all other services, the bind address.

    In memory only. Raises Invalid for any other number of hosts than three or none.
    """
    if not hosts:
        return {}
    if len(hosts) != 3:
        raise Invalid(f"-rsh takes three comma-separated hosts, not {len(hosts)}")
    own, others, bind = hosts[0] or own_address(), *hosts[1:]
    clients = {name: {"Host": others} for name in {"core-metadata", *tree.get("Clients", {})}}
    return {
        "Service": {"Host": own, "ServerBindAddr": bind},
        "MessageBus": {"Host": others},
        "Registry": {"Host": others},
        "Clients": clients,
    }


class Live(Generic[S]):
    """The settings in force: `now`, and `tree` without secrets. Both are replaced as a whole, on the event loop."""

    def __init__(self, kind: type[S], layers: Layers, hosts: tuple[str, ...] = ()) -> None:
        self._kind = kind
        self._hosts = hosts  # of -rsh
        self._listeners: list[Callable[[S], object]] = []
        self.tree: Tree = {}
        self.now = self._accept(layers)

    def on_change(self, listener: Callable[[S], object]) -> Callable[[], None]:
        """Call `listener` with new settings, on the event loop, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def replace(self, layers: Layers) -> None:
        """Apply new layers, or log why they are refused."""
        try:
            self.now = self._accept(layers)
        except Invalid as error:
            log.warning("configuration change refused, the old one stays: %s", error)
            return
        for listener in tuple(self._listeners):
            listener(self.now)

    def _accept(self, layers: Layers) -> S:
        """Raises Invalid naming the key and the layer."""
        moved = remote_hosts(layers.merged(), self._hosts)
        accepted = config.check(self._kind, *layers.named(), ("-rsh", moved))
        self.tree = config.hidden(config.merge(layers.merged(), moved))
        return accepted
