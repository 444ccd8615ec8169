"""Where configuration comes from: core-keeper, or files (contract 4.5), and how a running service follows it (4.6)."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgex_kit import codec, config, topics
from edgex_kit.bus import Bus, Message
from edgex_kit.errors import EdgexError, Invalid, Malformed, Unavailable, Unreachable
from edgex_kit.flags import Flags
from edgex_kit.keeper import COMMON, ROOT, Keeper
from edgex_kit.messages import KeyValue
from edgex_kit.settings import Tree

log = logging.getLogger(__name__)

ALL_SERVICES = "all-services"


@dataclass(frozen=True, slots=True)
class Layers:
    """Three trees, weakest first, and where the last one came from."""

    all_services: Tree = field(default_factory=dict)
    kind: Tree = field(default_factory=dict)  # app-services or device-services
    private: Tree = field(default_factory=dict)
    origin: str = "file"

    def named(self) -> tuple[tuple[str, Tree], ...]:
        return (
            ("common configuration, all-services", self.all_services),
            ("common configuration of this kind of service", self.kind),
            (f"private configuration, {self.origin}", self.private),
        )

    def merged(self) -> Tree:
        return config.merge(self.all_services, self.kind, self.private)


class Provider:
    """The configuration of one service; `kind` is "device-services" or "app-services"."""

    def __init__(self, service: str, kind: str, flags: Flags, packaged: Path) -> None:
        self.service = service
        self.keeper = Keeper(flags.provider) if flags.provider else None
        self._kind = kind
        self._flags = flags
        self._packaged = packaged

    async def load(self, environ: Mapping[str, str] = os.environ) -> Layers:
        """All layers. Waits for core-keeper as long as EDGEX_STARTUP_DURATION allows, then raises Unavailable."""
        private = config.override(_read_yaml(self._flags.config_path(self._packaged)), environ)
        if self.keeper is None:
            return self._from_files(private, environ)
        await self._until_ready(self.keeper)
        await self._push(self.keeper, private)
        layers = await self.read()
        if not layers.all_services or not layers.kind:
            raise Unavailable(f"core-keeper holds no common configuration '{ALL_SERVICES}' and '{self._kind}'")
        return layers

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
        """New layers, each time a key under a `Writable` that concerns us has changed."""
        if self.keeper is None:
            return
        patterns = [
            topics.config_change(f"{prefix}/Writable/#")
            for prefix in (f"{ROOT}/{self.service}", f"{COMMON}/{ALL_SERVICES}", f"{COMMON}/{self._kind}")
        ]
        async with bus.messages(*patterns, bound=100) as messages:
            async for message in messages:
                layers = await self._after(message)
                if layers is not None:
                    yield layers

    async def _after(self, message: Message) -> Layers | None:
        """What a change message leads to: it is a hint, and the truth is read again."""
        try:
            change = codec.payload_as(codec.decode_envelope(message.data), KeyValue)
            layers = await self.read()
        except Malformed as error:
            log.warning("a configuration change was not understood: %s", error)
            return None
        except EdgexError as error:
            log.warning("configuration could not be read again: %s", error)
            return None
        return layers if self._concerns_us(change, layers) else None

    def _concerns_us(self, change: KeyValue, layers: Layers) -> bool:
        """False for stale messages and for common keys that a stronger layer covers (contract 4.6)."""
        for prefix, tree, stronger in (
            (f"{ROOT}/{self.service}", layers.private, ()),
            (f"{COMMON}/{self._kind}", layers.kind, (layers.private,)),
            (f"{COMMON}/{ALL_SERVICES}", layers.all_services, (layers.kind, layers.private)),
        ):
            if change.key.startswith(prefix + "/"):
                path = tuple(change.key[len(prefix) + 1 :].split("/"))
                now = _at(tree, path)
                is_stale = isinstance(change.value, str) and isinstance(now, str) and change.value != now
                return not is_stale and all(_at(other, path) is None for other in stronger)
        return False

    async def _until_ready(self, keeper: Keeper) -> None:
        deadline = asyncio.get_running_loop().time() + self._flags.startup_s
        said = ""
        while True:
            try:
                await keeper.ping()
                ready = await keeper.values(f"{COMMON}/IsCommonConfigReady")
                if ready.get(f"{COMMON}/IsCommonConfigReady") == "true":
                    return
                wait_for = "core-common-config-bootstrapper to store the common configuration"
            except Unreachable as error:
                wait_for = str(error)
            if wait_for != said:
                said = wait_for
                log.info("waiting for core-keeper: %s", wait_for)
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable(f"gave up after {self._flags.startup_s:g} s: {wait_for}")
            await asyncio.sleep(self._flags.interval_s)

    async def _push(self, keeper: Keeper, private: Tree) -> None:
        """Store the file's keys that core-keeper lacks; all of them with -o. Existing values are somebody's choice."""
        prefix = f"{ROOT}/{self.service}"
        known = {} if self._flags.overwrite else await keeper.values(prefix)
        for path, value in config.leaves(private):
            key = "/".join((prefix, *path))
            if key not in known:
                await keeper.put(key, config.text_of(value))

    def _from_files(self, private: Tree, environ: Mapping[str, str]) -> Layers:
        if not self._flags.common_file:
            return Layers(private=private)
        common = config.override(_read_yaml(Path(self._flags.common_file)), environ)
        return Layers(common.get(ALL_SERVICES, {}), common.get(self._kind, {}), private)


def with_remote_hosts(tree: Tree, hosts: tuple[str, ...]) -> Tree:
    """`-rsh a,b,c`: this host, the host of everything else, the bind address; in memory only (contract 4.5)."""
    if not hosts:
        return tree
    if len(hosts) != 3:
        raise Invalid(f"-rsh takes three comma-separated hosts, not {len(hosts)}")
    own, others, bind = hosts
    clients = {name: {"Host": others} for name in tree.get("Clients", {})}
    remote = {"MessageBus": {"Host": others}, "Registry": {"Host": others}, "Clients": clients}
    return config.merge(tree, {"Service": {"Host": own, "ServerBindAddr": bind}}, remote)


def _read_yaml(path: Path) -> Tree:
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"configuration file '{path}' cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise Invalid(f"configuration file '{path}' is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise Invalid(f"configuration file '{path}' holds no sections")
    return tree


def _at(tree: Tree, path: tuple[str, ...]) -> Any:
    node: Any = tree
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node
