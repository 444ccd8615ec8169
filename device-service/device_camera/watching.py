"""Which discovered camera a provision watcher lets in; pure (contract 6.8)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgex_kit.wire.devices import ProvisionWatcher

Protocols = Mapping[str, Mapping[str, Any]]


def watcher_for(protocols: Protocols, watchers: Sequence[ProvisionWatcher]) -> ProvisionWatcher | None:
    """The first UNLOCKED watcher that allows these protocols and does not block them."""
    for watcher in watchers:
        if watcher.admin_state == "UNLOCKED" and _allows(watcher, protocols) and not _blocks(watcher, protocols):
            return watcher
    return None


def _allows(watcher: ProvisionWatcher, protocols: Protocols) -> bool:
    """All identifiers are found, as parts of values, within the properties of one protocol."""
    return any(
        all(_found(pattern, properties.get(key)) for key, pattern in watcher.identifiers.items())
        for properties in protocols.values()
    )


def _blocks(watcher: ProvisionWatcher, protocols: Protocols) -> bool:
    """Any blocking value is there, exactly, in any protocol."""
    return any(
        str(properties.get(key, "")) in blocked
        for properties in protocols.values()
        for key, blocked in (watcher.blocking_identifiers or {}).items()
        if key in properties
    )


def _found(pattern: str, value: Any) -> bool:
    if value is None or str(value) == "":
        return False
    try:
        return re.search(pattern, str(value)) is not None
    except re.error:  # a pattern that means nothing lets nothing in
        return False
