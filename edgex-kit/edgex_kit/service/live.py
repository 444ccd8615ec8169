"""The settings in force: they follow the configuration, and a change that cannot be read leaves them as they were."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from edgex_kit.config import layers as config
from edgex_kit.config.settings import Settings, Tree
from edgex_kit.service.provider import Layers, remote_hosts
from edgex_kit.wire.errors import Invalid

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)


class Live(Generic[S]):
    """`now` is the value, `tree` what may be shown of it; both are replaced as a whole, on the event loop."""

    def __init__(self, kind: type[S], layers: Layers, hosts: tuple[str, ...] = ()) -> None:
        self._kind = kind
        self._hosts = hosts  # of -rsh
        self._listeners: list[Callable[[S], object]] = []
        self.tree: Tree = {}
        self.now = self._accept(layers)

    def on_change(self, tell: Callable[[S], object]) -> Callable[[], None]:
        """Call `tell` with every new settings, on the event loop, until what is given back is called."""
        self._listeners.append(tell)
        return lambda: self._listeners.remove(tell)

    def replace(self, layers: Layers) -> None:
        """Take over new layers, or say why not."""
        try:
            self.now = self._accept(layers)
        except Invalid as error:
            log.warning("configuration change refused, the old one stays: %s", error)
            return
        for tell in tuple(self._listeners):
            tell(self.now)

    def _accept(self, layers: Layers) -> S:
        """Raises Invalid naming the key and the layer."""
        moved = remote_hosts(layers.merged(), self._hosts)
        accepted = config.check(self._kind, *layers.named(), ("-rsh", moved))
        self.tree = config.hidden(config.merge(layers.merged(), moved))
        return accepted
