"""Messages that could not be understood: each is counted, and said once a minute instead of ten thousand times."""

import logging
import time

from edgex_kit.bus.bus import Message, describe_malformed
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.errors import Malformed

log = logging.getLogger(__name__)

_QUIET = 60.0  # seconds


class Refusals:
    """What one door of the bus did not understand."""

    def __init__(self, metrics: Metrics, door: str) -> None:
        self._count = metrics.counter("MalformedMessages", door=door)
        self._door = door
        self._said_at = -_QUIET
        self._unsaid = 0

    def note(self, message: Message, error: Malformed) -> None:
        """Count it, and say it if nothing was said for a while."""
        self._count.add()
        now = time.monotonic()
        if now - self._said_at < _QUIET:
            self._unsaid += 1
            return
        more = f"; {self._unsaid} more since the last such line" if self._unsaid else ""
        log.warning("%s: %s%s", self._door, describe_malformed(message, error), more)
        self._said_at, self._unsaid = now, 0
