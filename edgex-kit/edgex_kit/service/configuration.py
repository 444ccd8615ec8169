"""The configuration of a service: from core-keeper or files, and its changes while the service runs."""

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
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
from edgex_kit.config.layers import Refused
from edgex_kit.config.settings import Settings, Tree
from edgex_kit.service.ports import free_port, own_address
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
    """Three trees, weakest first, the source of the last one, and the service's own file."""

    all_services: Tree = field(default_factory=dict)
    kind: Tree = field(default_factory=dict)  # app-services or device-services
    private: Tree = field(default_factory=dict)
    origin: str = "file"
    file: Tree = field(default_factory=dict, compare=False)

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

    def __init__(
        self,
        service: str,
        kind: str,
        flags: Flags,
        packaged: Path,
        *,
        settings: type[Settings] = Settings,
        identify: Identify = dict,
    ) -> None:
        self.service = service
        self.on_restored: Callable[[], Awaitable[object]] | None = None  # after core-keeper had lost its data
        self.keeper = Keeper(flags.provider, identify=identify) if flags.provider else None
        self._kind = kind
        self._flags = flags
        self._packaged = packaged
        self._settings = settings
        self._known = Layers()
        self._causes = Causes()
        self._hints: Latest[bool] = Latest()
        self._heard: Bus | None = None  # the bus whose connects we listen to

    async def load(self, environ: Mapping[str, str] = os.environ) -> Layers:
        """All layers. Waits for core-keeper as long as EDGEX_STARTUP_DURATION allows, then raises Unavailable."""
        file = await self._read_yaml(self._flags.config_place(self._packaged))
        if self.keeper is None:
            common = await self._common_file(environ)
            private = config.override(file, environ, self._settings, *common)
            if self._flags.instance and "SERVICE_PORT" not in environ:
                self._choose_port(private)
            self._warn_of_variables(environ, *common, private)
            return Layers(*common, private, file=file)
        await self._until_ready(self.keeper)
        common = await self._common(self.keeper)
        if not all(common):
            raise Unavailable(f"core-keeper holds no common configuration '{ALL_SERVICES}' and '{self._kind}'")
        private = config.override(file, environ, self._settings, *common)
        await self._push(self.keeper, private, environ)
        self._known = dataclasses.replace(await self.read(), file=file)
        self._warn_of_variables(environ, *common, private)
        return self._known

    def _warn_of_variables(self, environ: Mapping[str, str], *layers: Tree) -> None:
        for name, nearest in config.unknown_variables(environ, self._settings, *layers):
            meant = f"; is {nearest} meant?" if nearest else ""
            log.warning("environment variable %s is no key of the configuration and is ignored%s", name, meant)

    async def read(self) -> Layers:
        """All layers as core-keeper has them now."""
        if self.keeper is None:
            raise Unavailable("there is no configuration provider to read from")
        common = await self._common(self.keeper)
        key = f"{ROOT}/{self.service}"
        private = config.tree_from_keys(await self.keeper.values(key), key)
        return Layers(*common, private, "core-keeper", self._known.file)

    async def _common(self, keeper: Keeper) -> tuple[Tree, Tree]:
        pairs = await keeper.values(COMMON)
        all_services, kind = (config.tree_from_keys(pairs, f"{COMMON}/{name}") for name in (ALL_SERVICES, self._kind))
        return all_services, kind

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
            if not (layers.private and layers.all_services and layers.kind):
                return await self._restored(layers)
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

    async def _restored(self, layers: Layers) -> Layers:
        """The layers in force, and our keys stored again: a core-keeper that has lost its data orders nothing."""
        assert self.keeper is not None
        is_new = self._causes.is_new("core-keeper has lost its data")
        if is_new:
            log.warning("core-keeper has lost its data; the configuration in force stays, and is stored there again")
        if not layers.private:
            await self._store(self.keeper, self._known.private, {})
        if self.on_restored is not None and (is_new or not layers.private):
            await self.on_restored()
        return Layers(
            layers.all_services or self._known.all_services,
            layers.kind or self._known.kind,
            layers.private or self._known.private,
            "core-keeper",
            self._known.file,
        )

    async def _push(self, keeper: Keeper, private: Tree, environ: Mapping[str, str]) -> None:
        """Store the file's keys that core-keeper lacks; all of them with -o."""
        known = await keeper.values(f"{ROOT}/{self.service}")
        is_first = f"{ROOT}/{self.service}/Service/Port" not in known
        if self._flags.instance and is_first and "SERVICE_PORT" not in environ:
            self._choose_port(private)
        await self._store(keeper, private, {} if self._flags.overwrite else known)

    async def _store(self, keeper: Keeper, private: Tree, known: Mapping[str, str]) -> None:
        for path, value in config.leaves(private):
            key = "/".join((ROOT, self.service, *path))
            if key not in known:
                await keeper.put(key, config.text_of(value))

    def _choose_port(self, private: Tree) -> None:
        """A free port for an instance of -i: the file's is that of the service without an instance."""
        port = free_port()
        config.set_leaf(private, ("Service", "Port"), port)
        log.info("instance '%s' listens on port %d; SERVICE_PORT chooses another", self._flags.instance, port)

    async def _common_file(self, environ: Mapping[str, str]) -> tuple[Tree, Tree]:
        if not self._flags.common_file:
            return {}, {}
        common = config.override(await self._read_yaml(self._flags.common_file), environ)
        return common.get(ALL_SERVICES, {}), common.get(self._kind, {})

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
    """The settings in force: `now`, and `tree` without secrets. Both are replaced as a whole, on the event loop.

    A key whose value cannot be used is `refused`, and the others apply: its last value stays, or at the start that of a
    weaker layer, of the service's file, or the default. `unknown` are keys that the service does not have.
    """

    def __init__(self, kind: type[S], layers: Layers, hosts: tuple[str, ...] = ()) -> None:
        self._kind = kind
        self._hosts = hosts  # of -rsh
        self._listeners: list[Callable[[S], object]] = []
        self._in_force = layers.file
        self.refused: Sequence[Refused] = ()
        self.unknown: Sequence[str] = ()
        self.tree: Tree = {}
        self.now = self._accept(layers)

    def on_change(self, listener: Callable[[S], object]) -> Callable[[], None]:
        """Call `listener` with new settings, on the event loop, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def replace(self, layers: Layers) -> None:
        """Apply new layers as far as they can be used, and log what is refused."""
        try:
            self.now = self._accept(layers)
        except Invalid as error:
            log.warning("configuration change refused, the old one stays: %s", error)
            return
        for listener in tuple(self._listeners):
            try:
                listener(self.now)
            except Exception:  # one part's mistake keeps no change from the others
                log.exception("a part of the service failed to apply the changed configuration")

    def _accept(self, layers: Layers) -> S:
        """Raises Invalid where nothing can be used."""
        moved = remote_hosts(layers.merged(), self._hosts)
        accepted, refused = config.accept(self._kind, *layers.named(), ("-rsh", moved), in_force=self._in_force)
        if not self.tree:
            _check_needed(refused, layers)
        for one in refused:
            if one not in self.refused:
                log.error("%s; the other keys apply", one)
        for one in self.refused:
            if one.path not in {other.path for other in refused}:
                log.info("configuration key %s is no longer refused", one.key)
        self._note_unknown(layers)
        merged = config.merge(layers.merged(), moved)
        for one in refused:
            config.remove(merged, one.path)
            if (before := config.at(self._in_force, one.path)) is not None:
                config.set_leaf(merged, one.path, before)
        self.refused, self._in_force, self.tree = tuple(refused), merged, config.hidden(merged)
        return accepted

    def _note_unknown(self, layers: Layers) -> None:
        """Log each unknown key of our own configuration once, with the key that may be meant."""
        unknown = {".".join(path): nearest for path, nearest in config.unknown_keys(self._kind, layers.private)}
        for key, nearest in unknown.items():
            if key not in self.unknown:
                log.warning("configuration key %s is unknown%s", key, f"; is {nearest} meant?" if nearest else "")
        self.unknown = tuple(unknown)


def _check_needed(refused: Sequence[Refused], layers: Layers) -> None:
    """Raises Invalid for a refused key that has no other value, and without which the service cannot be reached."""
    others = config.merge(layers.file if layers.origin != "file" else {}, layers.all_services, layers.kind)
    for one in refused:
        if one.path[0] in ("Service", "MessageBus", "Registry") and config.at(others, one.path) is None:
            raise Invalid(str(one))
