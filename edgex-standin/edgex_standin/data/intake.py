"""core-data on the bus: events of events/device/#, whose names must equal those in their topic.

A dropped message is only logged, as in core-data. Messages wait in memory, and of more than `WAITING` bytes the newest
are dropped, so that a flood costs events and not the machine.
"""

import logging
import threading
from typing import Any
from urllib.parse import unquote

from edgex_kit.bus.bus import Message
from edgex_kit.bus.queues import Bounded
from edgex_kit.supervision import Causes
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Unavailable
from edgex_kit.wire.messages import CBOR, JSON

from edgex_standin.core import Core
from edgex_standin.data import events
from edgex_standin.data.events import Limits
from edgex_standin.data.values import Event, take_event

log = logging.getLogger(__name__)

WAITING = 64 * 1024 * 1024  # bytes
MOST_WAITING = 100_000  # messages


class Intake:
    """Takes events from the bus and stores them one after another."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._limits = Limits(core.keep_events, core.keep_bytes)
        self._queue: Bounded[Message] = Bounded(MOST_WAITING)
        self._lock = threading.Lock()
        self._waiting = 0
        self._flooded = False
        self._causes = Causes()

    async def run(self) -> None:
        """Take events for ever."""
        pattern = self._core.topics.below("events/device/#")
        self._core.bus.subscribe(pattern, self._deliver)
        try:
            while True:
                message = await self._queue.get()
                with self._lock:
                    self._waiting -= len(message.data)
                await self._take(message)
        finally:
            self._core.bus.unsubscribe(pattern, self._deliver)

    def _deliver(self, message: Message) -> None:
        """On the network thread."""
        with self._lock:
            is_too_much = self._waiting + len(message.data) > WAITING
            was_flooded, self._flooded = self._flooded, is_too_much
            if not is_too_much:
                self._waiting += len(message.data)
        if not is_too_much:
            self._queue.put(message)
        elif not was_flooded:
            log.warning("events come faster than they can be stored; some are lost")

    async def _take(self, message: Message) -> None:
        try:
            event = event_of(message)
            await self._core.store.run(lambda db: events.insert(db, event, self._limits))
            self._causes.clear()
        except Unavailable as error:  # once a cause: a full disk would be logged for every event
            if self._causes.is_new(error):
                log.warning("events are lost, beginning with one on '%s': %s", message.topic, error)
        except EdgexError as error:
            log.warning("a message on '%s' was dropped: %s", message.topic, error)
        except Exception:  # a message that breaks us must not end the taking of all others
            log.exception("a message on '%s' was dropped", message.topic)


def event_of(message: Message) -> Event:
    """The event of a message, which its topic must name. Raises EdgexError."""
    envelope = codec.decode_envelope(message.data)
    if envelope.content_type not in (JSON, CBOR):  # exactly: core-data refuses a charset
        raise Invalid(f"unsupported content type '{envelope.content_type}' received")
    event, _ = take_event(_whole_numbers(codec.decode_payload(envelope)))
    levels = message.topic.split("/")
    if len(levels) < 6:
        raise Invalid(f"invalid message topic {message.topic}")
    for key, level in zip(("profileName", "deviceName", "sourceName"), levels[-3:], strict=True):
        if event[key] != unquote(level):
            raise Invalid(f"event's {key} {event[key]} mismatches with the name {unquote(level)} received in topic")
    return event


def _whole_numbers(body: Any) -> Any:
    """A peer that lost digits on the way writes origins as floats; they are whole numbers all the same."""
    event = body.get("event") if isinstance(body, dict) else None
    readings = event.get("readings") if isinstance(event, dict) else None
    for holder in (event, *(readings if isinstance(readings, list) else ())):
        if isinstance(holder, dict) and isinstance(holder.get("origin"), float) and holder["origin"].is_integer():
            holder["origin"] = int(holder["origin"])
    return body
