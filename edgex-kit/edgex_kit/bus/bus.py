"""The message bus: paho on one side, asyncio on the other; only this and mqtt_client.py, its client, know paho.

Rules
1. Subscriptions live in a table and are made again on every connect (EdgeX sessions are clean, contract 1.4).
2. A missing broker is no reason to stop: we start without it, keep trying, and say so once per loss.
3. What arrives is handed over on paho's network thread to a function that must not block; `messages()` is the bounded
   bridge from there into asyncio, and what it drops is counted.
4. Nothing waits in here: `publish` returns None while there is no broker, and who must not lose a message keeps it.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho

from edgex_kit.bus import broker_connection as entrance
from edgex_kit.bus.broker_connection import BusSettings as BusSettings  # noqa: PLC0414 - who opens a bus finds it here
from edgex_kit.bus.mqtt_client import MqttClient
from edgex_kit.bus.queues import Bounded
from edgex_kit.bus.subscriptions import Subscriptions
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, TimedOut, Unreachable
from edgex_kit.wire.messages import Envelope

log = logging.getLogger(__name__)

_MOST_KEPT = 10_000  # messages of quality of service 1 and 2 that paho keeps; more are not taken


@dataclass(frozen=True, slots=True)
class Message:
    """What came in: the topic, and bytes nobody has looked at."""

    topic: str
    data: bytes


class Sending:
    """A message on its way out."""

    def __init__(self, info: paho.MQTTMessageInfo) -> None:
        self._info = info

    @property
    def is_done(self) -> bool:
        """Whether it has left this process, or was lost with its connection (QoS 0); has reached the broker (1, 2)."""
        try:
            return self._info.is_published()
        except RuntimeError:  # paho: the connection was lost, and with it the message
            return True


Deliver = Callable[[Message], None]


class Bus:
    """An open connection, or the lasting attempt at one; made by `open_bus`."""

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.connects = 0
        self.losses = 0  # connections that were lost
        self._is_up = False  # paho calls itself connected until after it has told of a loss
        self._subscriptions: Subscriptions[Deliver] = Subscriptions()
        self._asking = threading.Lock()  # the broker may grant before paho has told us the number we asked under
        self._asked: set[int | None] = set()  # subscriptions the broker has not granted yet
        self._is_refused = False  # the broker has answered no, and now ends the connection
        self._said: set[str] = set()  # why there is no broker, since the last time there was one
        self._queues: list[Bounded[Message]] = []
        self._dropped_before = 0
        self._on_connected: list[Callable[[], None]] = []
        self._client = self._make_client()

    @property
    def dropped(self) -> int:
        """How many messages no task took in time."""
        return self._dropped_before + sum(queue.dropped for queue in self._queues)

    @property
    def is_connected(self) -> bool:
        """Whether a message published now would go to a broker."""
        return self._is_up and self._client.is_connected()

    def publish(self, topic: str, *parts: bytes, qos: int | None = None) -> Sending | None:
        """Send `parts` as one message; None when there is no broker to send it to. Any thread may call.

        With quality of service 1 or 2, what a lost connection has taken goes out again by itself, and first, on the
        next; None also when too many wait for that. Raises Invalid for a topic that cannot be published on.
        """
        if not self.is_connected:
            return None
        quality = self.settings.qos if qos is None else qos
        try:
            info = self._client.publish_parts(topic, parts, quality, retain=self.settings.retained)
        except ValueError as error:
            raise Invalid(f"{sum(map(len, parts))} bytes cannot be published on '{topic}': {error}") from error
        if quality and info.rc == paho.MQTT_ERR_NO_CONN:  # lost this moment; paho has kept it
            info.rc = paho.MQTT_ERR_SUCCESS
        return Sending(info) if info.rc == paho.MQTT_ERR_SUCCESS else None

    def subscribe(self, pattern: str, deliver: Deliver) -> None:
        """Give every message that `pattern` covers to `deliver`, on the network thread: it must not block."""
        if self._subscriptions.add(pattern, deliver) and self.is_connected:
            self._ask([pattern])

    def unsubscribe(self, pattern: str, deliver: Deliver) -> None:
        """Stop giving `pattern`'s messages to `deliver`."""
        if self._subscriptions.remove(pattern, deliver) and self.is_connected:
            self._client.unsubscribe(pattern)

    def on_connected(self, tell: Callable[[], None]) -> None:
        """Call `tell` after every connect, on the network thread, once our subscriptions are asked for again."""
        self._on_connected.append(tell)

    async def enter_as(self, settings: BusSettings) -> None:
        """Leave the broker and enter it with other credentials; subscriptions and waiting messages stay."""
        await asyncio.to_thread(self._close)
        self.settings, self._is_up, self._is_refused = settings, False, False
        self._client.username_pw_set(settings.username or None, settings.password or None)
        self._client._ssl_context = settings.tls  # noqa: SLF001 - paho's own door opens only once
        self._client.on_disconnect = self._disconnected
        self._asked.clear()
        self._said.clear()
        self._open()

    @contextlib.asynccontextmanager
    async def messages(self, *patterns: str, bound: int = 1000) -> AsyncIterator[AsyncIterator[Message]]:
        """Messages of `patterns` as an async iterator; of more than `bound` waiting ones the oldest is dropped."""
        queue: Bounded[Message] = Bounded(bound)
        self._queues.append(queue)
        for pattern in patterns:
            self.subscribe(pattern, queue.put)
        try:
            yield queue
        finally:
            for pattern in patterns:
                self.unsubscribe(pattern, queue.put)
            self._queues.remove(queue)
            self._dropped_before += queue.dropped

    async def request(self, topic: str, data: bytes, reply_to: str, wait: float) -> Envelope:
        """Send a request and wait for its answer on `reply_to` (contract 1.5).

        Raises Unreachable without a broker, TimedOut after `wait` seconds, and EdgexError with the text of a refusal.
        """
        async with self.messages(reply_to, bound=4) as answers:
            if self.publish(topic, data) is None:
                raise Unreachable(f"no message broker at {self.settings.place}")
            try:
                async with asyncio.timeout(wait):
                    message = await anext(answers)
            except TimeoutError as error:
                raise TimedOut(f"no answer on '{reply_to}' within {wait:g} s") from error
        envelope = codec.decode_envelope(message.data)
        if envelope.error_code:
            raise EdgexError(str(envelope.payload))
        return envelope

    async def settle(self, wait: float) -> bool:
        """Wait until the broker has granted every subscription; False when it has not after `wait` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not self.is_connected or self._asked or not self.connects:
                    await asyncio.sleep(0.01)
                return True
        return False

    def _make_client(self) -> MqttClient:
        client = MqttClient(self.settings.client_id, self._received)
        client.connect_timeout = self.settings.connect_timeout
        client.reconnect_delay_set(min_delay=1, max_delay=10)
        client.max_queued_messages_set(_MOST_KEPT)
        if self.settings.username:
            client.username_pw_set(self.settings.username, self.settings.password)
        if self.settings.tls is not None:
            client.tls_set_context(self.settings.tls)
        client.on_connect = self._connected
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._granted
        return client

    def _open(self) -> None:
        self._client.connect_async(self.settings.host, self.settings.port, max(self.settings.keep_alive, 1))
        self._client.loop_start()

    def _close(self) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._is_refused = True
            self._say_lost(entrance.why_refused(self.settings, str(reason)))
            return
        self._is_up = True
        self._asked.clear()
        self._ask(self._subscriptions.patterns)
        self.connects += 1
        log.info("connected to the message broker at %s", self.settings.place)
        self._said.clear()
        for tell in self._on_connected:
            try:
                tell()
            except Exception:  # one listener's mistake must not end the network thread for all others
                log.exception("a listener to connections failed")

    def _connect_failed(self, _client: paho.Client, _data: Any) -> None:
        self._say_lost(entrance.why_unreachable(self.settings, self._client.trouble))

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was_up, self._is_up = self._is_up, False
        was_refused, self._is_refused = self._is_refused, False
        self.losses += 1
        if was_refused:  # said already
            return
        if reason == "Keep alive timeout":
            self._say_lost(entrance.why_silent(self.settings, was_up=was_up))
        elif not was_up:
            self._say_lost(entrance.why_unanswered(self.settings, self._client.trouble))
        else:
            self._say_lost(entrance.why_unreachable(self.settings, self._client.trouble))

    def _say_lost(self, why: str) -> None:
        if why not in self._said:
            self._said.add(why)
            log.warning("%s; trying again until it is back", why)

    def _received(self, topic: bytes, data: bytes) -> None:
        try:
            message = Message(topic.decode(), data)
        except UnicodeDecodeError:
            log.warning("a message on a topic that is no UTF-8 was dropped")
            return
        for deliver in self._subscriptions.of(message.topic):
            try:
                deliver(message)
            except Exception:  # one receiver's mistake must not end the network thread for all others
                log.exception("a receiver of '%s' failed", message.topic)

    def _ask(self, patterns: list[str]) -> None:
        if patterns:
            with self._asking:
                _, mid = self._client.subscribe([(pattern, self.settings.qos) for pattern in patterns])
                self._asked.add(mid)

    def _granted(self, _client: paho.Client, _data: Any, mid: int, reasons: list[Any], _properties: Any) -> None:
        with self._asking:
            self._asked.discard(mid)
        if any(reason.is_failure for reason in reasons):
            log.error("the message broker refused a subscription: we may not hear everything; see its access rules")


@contextlib.asynccontextmanager
async def open_bus(settings: BusSettings) -> AsyncIterator[Bus]:
    """A bus for the length of the block, with or without a broker at its start."""
    bus = Bus(settings)
    bus._open()  # noqa: SLF001 - its two halves live here and there so that nobody else can call them
    try:
        yield bus
    finally:
        await asyncio.to_thread(bus._close)  # noqa: SLF001
        bus._client.release()  # noqa: SLF001


def describe_malformed(message: Message, error: Malformed) -> str:
    """One line for a log about a message that could not be read."""
    return f"a message on '{message.topic}' ({len(message.data)} bytes) was not understood: {error}"
