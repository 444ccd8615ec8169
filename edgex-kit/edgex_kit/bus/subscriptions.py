"""Who hears what: the table of subscriptions, which any thread may read and change."""

import threading
from typing import Generic, TypeVar

from edgex_kit.wire import topics

R = TypeVar("R")  # a receiver

_MOST_KNOWN = 4096  # topics; beyond that all are looked up anew


class Subscriptions(Generic[R]):
    """Receivers by MQTT filter; whoever asks twice for a topic is answered from memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: dict[str, list[R]] = {}
        self._known: dict[str, tuple[R, ...]] = {}  # topic -> its receivers

    @property
    def patterns(self) -> list[str]:
        """All filters somebody has subscribed to."""
        with self._lock:
            return list(self._table)

    def add(self, pattern: str, receiver: R) -> bool:
        """Let `receiver` hear what `pattern` covers; whether it is the first with that pattern."""
        with self._lock:
            is_new = pattern not in self._table
            self._table.setdefault(pattern, []).append(receiver)
            self._known = {}
        return is_new

    def remove(self, pattern: str, receiver: R) -> bool:
        """Let `receiver` hear no more of `pattern`; whether it was the last with it."""
        with self._lock:
            receivers = self._table.get(pattern, [])
            if receiver in receivers:
                receivers.remove(receiver)
            is_gone = pattern in self._table and not receivers
            if is_gone:
                del self._table[pattern]
            self._known = {}
        return is_gone

    def of(self, topic: str) -> tuple[R, ...]:
        """Everyone who is to hear a message on `topic`."""
        found = self._known.get(topic)
        return self._look_up(topic) if found is None else found

    def _look_up(self, topic: str) -> tuple[R, ...]:
        with self._lock:
            found = tuple(
                one for pattern, many in self._table.items() if topics.matches(pattern, topic) for one in many
            )
            if len(self._known) >= _MOST_KNOWN:
                self._known = {}
            self._known[topic] = found
        return found
