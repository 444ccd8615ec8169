"""Whether an event says something new; pure (contract 6.6).

Compared is with what was sent last, so that a slow drift is seen once it has gone far enough. Binary readings are
compared by a digest of their bytes, numbers by distance, everything else by equality.
"""

import hashlib
from typing import Any

from edgex_kit.wire.messages import Event, Reading
from edgex_kit.wire.values import NUMBERS


class Changes:
    """What one auto event has sent; `threshold` is the distance a number must move beyond."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sent: dict[str, Any] = {}

    def has(self, event: Event) -> bool:
        """True for the first event and for every one with a reading that has changed, which is remembered as sent."""
        now = {one.resource_name: (one, _content(one)) for one in event.readings}
        sent = self._sent
        if sent.keys() != now.keys():
            self._sent = {name: content for name, (_, content) in now.items()}
            return True
        changed = {name: content for name, (one, content) in now.items() if self._differs(one, sent[name], content)}
        sent.update(changed)
        return bool(changed)

    def _differs(self, reading: Reading, before: Any, now: Any) -> bool:
        if reading.value_type in NUMBERS and before is not None and now is not None:
            return abs(float(before) - float(now)) > self._threshold
        return bool(before != now)


def _content(reading: Reading) -> Any:
    if isinstance(reading.binary_value, bytes | memoryview):
        return hashlib.blake2b(reading.binary_value, digest_size=16).digest()
    if reading.value_type in ("Object", "ObjectArray"):
        return reading.object_value
    return reading.value
