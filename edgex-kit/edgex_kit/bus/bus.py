"""The message bus: paho's network thread on one side, asyncio on the other. Only this package imports paho.

Rules
1. Subscriptions are kept in a table and made again after every connect: EdgeX's MQTT sessions are clean
   (go-mod-messaging sets CleanSession).
2. A missing broker does not stop a service: it starts without one, keeps trying, and logs each cause once per loss.
3. Messages are delivered on paho's network thread to functions that must not block; `messages()` is the bounded
   queue from there into asyncio, and what it drops is counted.
4. `publish` never waits: it returns None while there is no broker. A caller that must not lose a message keeps it.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import paho.mqtt.client as paho

from edgex_kit.bus import connection
from edgex_kit.bus.connection import BusSettings, bus_settings
from edgex_kit.bus.mqtt_client import MqttClient, Unacknowledged
from edgex_kit.bus.packet_limit import PacketLimit
from edgex_kit.bus.queues import Bounded, Latest
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config.settings import Settings
from edgex_kit.wire import codec, topics
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, NotFound, TimedOut, Unreachable
from edgex_kit.wire.messages import Envelope

log = logging.getLogger(__name__)

_MOST_KEPT = 10_000  # messages of quality of service 1 and 2 that paho keeps; more are refused
_MOST_CACHED = 4096  # topics whose receivers are remembered

R = TypeVar("R")  # a receiver


@dataclass(frozen=True, slots=True)
class Message:
    """A received message: its topic, and its bytes, not yet parsed."""

    topic: str
    data: bytes


class Sending:
    """A message that was given to the client for sending."""

    def __init__(self, info: paho.MQTTMessageInfo) -> None:
        self._info = info

    @property
    def is_done(self) -> bool:
        """QoS 0: it has left this process, or was lost with its connection. QoS 1 and 2: the broker has it."""
        try:
            return self._info.is_published()
        except RuntimeError:  # paho: the connection was lost, and with it the message
            return True


Deliver = Callable[[Message], None]


class Subscriptions(Generic[R]):
    """Receivers by MQTT filter, with a cache by topic. Any thread may read and change it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: dict[str, list[R]] = {}
        self._cache: dict[str, tuple[R, ...]] = {}  # topic -> its receivers

    @property
    def patterns(self) -> list[str]:
        """All filters that have a receiver."""
        with self._lock:
            return list(self._table)

    def add(self, pattern: str, receiver: R) -> bool:
        """Add a receiver; True when it is the first of `pattern`."""
        with self._lock:
            is_new = pattern not in self._table
            self._table.setdefault(pattern, []).append(receiver)
            self._cache = {}
        return is_new

    def remove(self, pattern: str, receiver: R) -> bool:
        """Remove a receiver; True when it was the last of `pattern`."""
        with self._lock:
            receivers = self._table.get(pattern, [])
            if receiver in receivers:
                receivers.remove(receiver)
            is_gone = pattern in self._table and not receivers
            if is_gone:
                del self._table[pattern]
            self._cache = {}
        return is_gone

    def of(self, topic: str) -> tuple[R, ...]:
        """The receivers of a message on `topic`."""
        found = self._cache.get(topic)
        if found is not None:
            return found
        with self._lock:
            found = tuple(
                one for pattern, many in self._table.items() if topics.matches(pattern, topic) for one in many
            )
            if len(self._cache) >= _MOST_CACHED:
                self._cache = {}
            self._cache[topic] = found
        return found


class Bus:
    """A connection to the broker that is made again whenever it is lost; created by `open_bus`."""

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.connects = 0
        self.losses = 0  # connections that were lost
        self._is_up = False  # paho calls itself connected until after it has reported a loss
        self._subscriptions: Subscriptions[Deliver] = Subscriptions()
        self._subscribing = threading.Lock()  # the broker may grant before paho has returned the number of the request
        self._pending: dict[int | None, list[str]] = {}  # subscriptions that the broker has not granted yet
        self._limit = PacketLimit()
        self._is_refused = False  # the broker has refused the connection and is about to end it
        self._logged: set[str] = set()  # causes logged since the last connection
        self._queues: list[Bounded[Message]] = []
        self._dropped_before = 0
        self._on_connected: list[Callable[[], None]] = []
        self._client = self._make_client()

    @property
    def dropped(self) -> int:
        """How many messages were dropped because no task took them in time."""
        return self._dropped_before + sum(queue.dropped for queue in self._queues)

    @property
    def unacknowledged(self) -> int:
        """How many messages were sent again because the broker did not acknowledge them in time."""
        return self._client.unacknowledged

    @property
    def max_packet(self) -> int:
        """Bytes of the largest packet that the broker takes; 0 where no limit is known."""
        return self._limit.bytes

    @property
    def is_connected(self) -> bool:
        """Whether a message published now would go to a broker."""
        return self._is_up and self._client.is_connected()

    def publish(self, topic: str, *parts: bytes, qos: int | None = None) -> Sending | None:
        """Send `parts` as one message; None when there is no broker to send it to. Any thread may call.

        With quality of service 1 or 2, messages that a lost connection has taken are sent again first on the next
        one; None also when too many wait for that. Raises Invalid for a topic that cannot be published on, TooLarge
        for a message that the broker is known to refuse.
        """
        if not self.is_connected:
            return None
        self._limit.check(sum(map(len, parts)), topic, self.settings.place)
        quality = self.settings.qos if qos is None else qos
        try:
            info = self._client.publish_parts(topic, parts, quality, retain=self.settings.retained)
        except ValueError as error:
            raise Invalid(f"{sum(map(len, parts))} bytes cannot be published on '{topic}': {error}") from error
        if quality and info.rc == paho.MQTT_ERR_NO_CONN:  # lost this moment; paho has kept it
            info.rc = paho.MQTT_ERR_SUCCESS
        return Sending(info) if info.rc == paho.MQTT_ERR_SUCCESS else None

    def subscribe(self, pattern: str, deliver: Deliver, group: str = "") -> None:
        """Deliver every message that `pattern` covers, on the network thread: `deliver` must not block.

        Subscribers with the same `group` share the messages: the broker gives each to one of them (MQTT 5, 4.8.2;
        mosquitto and EMQX do so for MQTT 3.1.1 too).
        """
        pattern = topics.shared(group, pattern)
        if self._subscriptions.add(pattern, deliver) and self.is_connected:
            self._request([pattern])

    def unsubscribe(self, pattern: str, deliver: Deliver, group: str = "") -> None:
        """Undo `subscribe` with the same arguments."""
        pattern = topics.shared(group, pattern)
        if self._subscriptions.remove(pattern, deliver) and self.is_connected:
            self._client.unsubscribe(pattern)

    def on_connected(self, call: Callable[[], None]) -> None:
        """Call `call` after every connect, on the network thread, once our subscriptions are requested again."""
        self._on_connected.append(call)

    async def reconnect_as(self, settings: BusSettings) -> None:
        """Disconnect and connect with other credentials; subscriptions and waiting messages stay."""
        await asyncio.to_thread(self._close)
        self.settings, self._is_up, self._is_refused = settings, False, False
        self._client.username_pw_set(settings.username or None, settings.password or None)
        self._client._ssl_context = settings.tls  # noqa: SLF001 - paho's setter works only once
        self._client.on_disconnect = self._disconnected
        self._pending.clear()
        self._logged.clear()
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
        """Send a request and wait for its answer on `reply_to`.

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
                while not self.is_connected or self._pending or not self.connects:
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
            self._log_loss(connection.why_refused(self.settings, str(reason)))
            return
        self._is_up = True
        self._pending.clear()
        self._request(self._subscriptions.patterns)
        self._limit.ask(self.settings)
        self._client.largest = self._limit.bytes
        self.connects += 1
        log.info("connected to the message broker at %s", self.settings.place)
        self._logged.clear()
        for call in self._on_connected:
            try:
                call()
            except Exception:  # one listener's mistake must not end the network thread for all others
                log.exception("a listener to connections failed")

    def _connect_failed(self, _client: paho.Client, _data: Any) -> None:
        self._log_loss(connection.why_unreachable(self.settings, self._client.trouble))

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was_up, self._is_up = self._is_up, False
        was_refused, self._is_refused = self._is_refused, False
        self.losses += 1
        if was_refused:  # logged already
            return
        if was_up:
            self._limit.lost(self.settings)
        if reason == "Keep alive timeout":
            self._log_loss(connection.why_silent(self.settings, was_up=was_up))
        elif isinstance(self._client.trouble, Unacknowledged):
            self._log_loss(connection.why_unacknowledged(self.settings, self._client.trouble))
        elif not was_up:
            self._log_loss(connection.why_unanswered(self.settings, self._client.trouble))
        else:
            self._log_loss(connection.why_unreachable(self.settings, self._client.trouble))

    def _log_loss(self, why: str) -> None:
        if why not in self._logged:
            self._logged.add(why)
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

    def _request(self, patterns: list[str]) -> None:
        if patterns:
            with self._subscribing:
                _, mid = self._client.subscribe([(pattern, self.settings.qos) for pattern in patterns])
                self._pending[mid] = patterns

    def _granted(self, _client: paho.Client, _data: Any, mid: int, reasons: list[Any], _properties: Any) -> None:
        with self._subscribing:
            patterns = self._pending.pop(mid, [])
        refused = [pattern for pattern, reason in zip(patterns, reasons, strict=False) if reason.is_failure]
        if refused:
            log.error("the message broker refuses subscriptions; check its access rules: %s", ", ".join(refused))


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


@contextlib.asynccontextmanager
async def open_configured_bus(settings: Settings, secrets: Secrets, service: str) -> AsyncIterator[Bus]:
    """The bus that the section MessageBus describes; with `Disabled` one that never connects.

    Raises Invalid for settings that are not supported, NotFound for a missing secret.
    """
    if settings.message_bus.disabled:
        log.info("MessageBus.Disabled is true: nothing is published or received")
        yield Bus(BusSettings(client_id=service))
        return
    try:
        found = bus_settings(settings, secrets, service)
    except NotFound as error:  # there is no service yet that a secret could be posted to
        name, mode = settings.message_bus.secret_name, settings.message_bus.auth_mode
        before = secrets.place_before_start(name)
        raise NotFound(f"no secret named '{name}' for MessageBus.AuthMode {mode}; store it in {before}") from error
    async with open_bus(found) as bus:
        yield bus


async def follow_credentials(bus: Bus, secrets: Secrets, wanted: Callable[[], BusSettings]) -> None:
    """Connect anew, for ever, when the secret of the connection has changed."""
    changes: Latest[bool] = Latest()
    with _notified(changes, secrets):
        while True:
            await changes.get()
            try:
                settings = wanted()
            except EdgexError as error:
                log.warning("the broker's new credentials cannot be used, the old ones stay: %s", error)
                continue
            if settings.secret != bus.settings.secret:
                log.info("the broker's credentials have changed; connecting anew")
                await bus.reconnect_as(settings)


@contextlib.contextmanager
def _notified(changes: Latest[bool], secrets: Secrets) -> Iterator[None]:
    """Put an item into `changes` now, as the secret may have changed since the bus was opened, and at each change."""

    def change() -> None:
        changes.put(True)

    secrets.on_change(change)
    change()
    try:
        yield
    finally:
        secrets.remove_listener(change)


def describe_malformed(message: Message, error: Malformed) -> str:
    """One line for a log about a message that could not be read."""
    return f"a message on '{message.topic}' ({len(message.data)} bytes) was not understood: {error}"
