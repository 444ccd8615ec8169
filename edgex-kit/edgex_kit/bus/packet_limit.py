"""The largest message that the broker takes.

MQTT 3.1.1, which EdgeX speaks, has no word for it: a broker with a limit (mosquitto's max_packet_size) ends the
connection of a client that sends more, and with it every other stream of that client. So after a connection was lost
soon after its largest message, the broker is asked with one MQTT 5 CONNECT, whose answer names the limit. Where that
is not answered, a size after which the connection was lost three times in a row is taken for too large for a while,
unless it is so small that a bad link is the likelier cause.
"""

import contextlib
import logging
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire.errors import TooLarge

log = logging.getLogger(__name__)

_PROVED = 3.0  # seconds after which a message that did not end the connection is known to be taken
_LOSSES = 3  # in a row, until a size is assumed to be too large
_ASSUMED = 120.0  # seconds that such an assumption lasts
_LEAST = (
    16 << 10
)  # bytes; a smaller packet is never assumed to be too large: its connection was lost for another reason
_HEAD = 16  # bytes of a packet besides topic and payload, at most


class PacketLimit:
    """Knows the limit and refuses messages beyond it. `check` may be called on any thread."""

    def __init__(self) -> None:
        self._limit = 0  # bytes of a packet; 0: none is known
        self._until = float("inf")  # monotonic seconds
        self._proved = 0  # bytes; the largest packet that the broker has taken on this connection
        self._trial: tuple[int, str, float] | None = None  # size, topic and time of the largest packet beyond that
        self._suspects: list[int] = []  # sizes, of the last losses in a row

    @property
    def bytes(self) -> int:
        """The largest packet that the broker takes; 0 where no limit is known."""
        return self._limit if time.monotonic() < self._until else 0

    def check(self, size: int, topic: str, place: str) -> None:
        """Raises TooLarge for a message of `size` bytes that would end the connection."""
        size += len(topic) + _HEAD
        if self._limit and size > self._limit and time.monotonic() < self._until:
            raise TooLarge(
                f"a message of {size} bytes on '{topic}' is larger than the {self._limit} bytes that the broker "
                f"at {place} takes (mosquitto: max_packet_size)"
            )
        if size > self._proved:
            self._try(size, topic)

    def _try(self, size: int, topic: str) -> None:
        now, trial = time.monotonic(), self._trial
        if trial is not None and now - trial[2] > _PROVED:
            self._proved, self._trial = trial[0], None
            self._suspects.clear()
        elif trial is None or size > trial[0]:
            self._trial = size, topic, now

    def lost(self, settings: BusSettings) -> None:
        """The connection was lost: find out whether the last large message was the cause, on a thread of its own."""
        trial, self._trial, self._proved = self._trial, None, 0
        if trial is None or time.monotonic() - trial[2] > _PROVED:
            self._suspects.clear()
        else:
            self._suspects.append(trial[0])
            self.ask(settings, trial[0], trial[1])

    def ask(self, settings: BusSettings, size: int = 0, topic: str = "") -> None:
        """Ask the broker again; `size` and `topic` are of the message after which the connection was lost."""
        if size or self._limit:
            threading.Thread(target=self._ask, args=(settings, size, topic), name="mqtt-limit", daemon=True).start()

    def _ask(self, settings: BusSettings, size: int, topic: str) -> None:
        limit = _limit_of(settings)
        before = self._limit
        if limit is not None:
            self._limit, self._until = limit, float("inf")
            self._suspects.clear()
        elif size and len(self._suspects) >= _LOSSES and min(self._suspects) >= _LEAST:
            self._limit, self._until = min(self._suspects) - 1, time.monotonic() + _ASSUMED
        if self._limit and self._limit != before and size > self._limit:
            how = "takes" if limit else "seems to take"
            log.warning(
                "the broker at %s %s packets of at most %d bytes and ended the connection for one of %d bytes on '%s'; "
                "larger messages are held back (mosquitto: max_packet_size)",
                settings.place, how, self._limit, size, topic,
            )  # fmt: skip


def _limit_of(settings: BusSettings) -> int | None:
    """The Maximum Packet Size of the broker's CONNACK (MQTT 5, 3.2.2.3.6), 0 for none; None where it does not say."""
    answers: list[int] = []

    def connected(_client: paho.Client, _data: object, _flags: object, reason: object, properties: object) -> None:
        if not getattr(reason, "is_failure", True):
            answers.append(int(getattr(properties, "MaximumPacketSize", 0)))

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{settings.client_id}-limit", protocol=paho.MQTTv5)
    client.connect_timeout = settings.connect_timeout
    if settings.username:
        client.username_pw_set(settings.username, settings.password)
    if settings.tls is not None:
        client.tls_set_context(settings.tls)
    client.on_connect = connected
    deadline = time.monotonic() + settings.connect_timeout
    with contextlib.suppress(OSError, ValueError):  # no answer is an answer, too
        client.connect(settings.host, settings.port)
        while not answers and time.monotonic() < deadline and client.loop(0.1) == paho.MQTT_ERR_SUCCESS:
            continue
        client.disconnect()
    return answers[0] if answers else None
