"""paho's client with few wake-ups of the network thread and few copies of large messages.

By itself paho reads a large message in as many wake-ups as it has pieces, copies it four times, and leaves publishing
to its network thread. Each wake-up takes the core from a worker in the middle of an inference. With TLS the wake-ups
stay as they are: OpenSSL holds bytes that the kernel no longer counts, and admits one thread at a time.
paho also leaves Nagle's algorithm on, so that a message is sent late and together with the next one.
"""

import contextlib
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MessageState, MQTTErrorCode

_AT_ONCE = 256 * 1024  # bytes; the most to wait for: on a slow link keep-alive has to see progress
_PUBLISH, _QOS, _RETAIN = 0x30, 0x06, 0x01  # MQTT 3.1.1, 2.2.1 and 3.3.1
_LARGEST = 268_435_455  # bytes of a packet behind its length, 2.2.3

_NO_TOPIC = re.compile("[+#\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_CONNECTION_LOST = paho._ConnectionState.MQTT_CS_CONNECTION_LOST  # type: ignore[attr-defined]  # noqa: SLF001
_WAITING = (
    MessageState.MQTT_MS_WAIT_FOR_PUBACK,
    MessageState.MQTT_MS_WAIT_FOR_PUBREC,
    MessageState.MQTT_MS_WAIT_FOR_PUBCOMP,
)

_SENT = paho.MQTTMessageInfo(0)  # shared by all messages that are sent already
_SENT._set_as_published()  # noqa: SLF001 - paho makes one for each message, with a lock

Deliver = Callable[[bytes, bytes], object]  # topic and payload


class Unacknowledged(OSError):
    """The broker is there, but has not acknowledged what it was sent."""


class MqttClient(paho.Client):
    """An MQTT 3.1.1 client that connects again whenever it has to; any thread may publish.

    `deliver` is called with every message on the network thread, and must not raise. The thread that writes to the
    socket or replaces it holds `_writing`; a publisher never waits for it.
    """

    def __init__(self, client_id: str, deliver: Deliver, acknowledge_timeout: float = 20.0) -> None:
        self.largest = 0  # bytes of topic and payload of the largest message to be sent again; 0: any
        self.unacknowledged = 0  # messages whose acknowledgement did not come in time, and which were sent again
        self._acknowledge_timeout = acknowledge_timeout  # seconds
        self.trouble: OSError | None = None  # why the connection could not be made, or broke
        self._is_lost = False  # the loss of this connection has been reported
        self._writing = threading.RLock()
        self._deliver = deliver
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311, reconnect_on_failure=True
        )
        self.on_message = self._received

    def publish_parts(self, topic: str, parts: Sequence[bytes], qos: int, *, retain: bool) -> paho.MQTTMessageInfo:
        """Send `parts` as one message. Raises ValueError for an invalid topic or too many bytes.

        QoS 0 is written to the socket on this thread, in one system call and without a copy. Only where that is not
        possible paho makes a packet of it, and keeps what does not fit into the socket.
        """
        _topic_field(topic)
        info = None if qos else self._write(topic, parts, retain=retain)
        return info or self.publish(topic, b"".join(parts), qos, retain)

    def _write(self, topic: str, parts: Sequence[bytes], *, retain: bool) -> paho.MQTTMessageInfo | None:
        """Write it now; None when not a byte could be written."""
        head = _publish_head(topic, sum(map(len, parts)), retain=retain)
        if not self._writing.acquire(blocking=False):
            return None
        try:
            connection = self._sock
            if self._out_packet or not isinstance(connection, PatientSocket):
                return None
            try:
                sent = connection.sendmsg((head, *parts))
            except OSError:  # full, or broken: paho finds out which
                return None
            self._last_msg_out = time.monotonic()  # keep-alive counts from here
            packet_size = len(head) + sum(map(len, parts))
            return _SENT if sent == packet_size else self._keep_rest(b"".join((head, *parts)), sent)
        finally:
            self._writing.release()

    def _keep_rest(self, packet: bytes, sent: int) -> paho.MQTTMessageInfo:
        """Queue it before everything else that waits: the broker has its beginning."""
        info, view = paho.MQTTMessageInfo(0), memoryview(packet)
        self._out_packet.appendleft(
            {"command": _PUBLISH, "mid": 0, "qos": 0, "pos": sent,
             "to_process": len(view) - sent, "packet": view, "info": info}  # type: ignore[typeddict-item]
        )  # fmt: skip
        self._wake()
        return info

    def loop_misc(self) -> MQTTErrorCode:
        """Connect anew when acknowledgements are missing: paho then sends those messages again, in their order.

        mosquitto drops PUBACKs when its queue for a client is full, and would never send them.
        """
        if self._out_messages and self._sock is not None:
            missing = self._count_unacknowledged()
            if missing:
                self.unacknowledged += missing
                self._sock_close()
                self._state = _CONNECTION_LOST
                self.trouble = Unacknowledged(f"{missing} messages not acknowledged in {self._acknowledge_timeout:g} s")
                self._do_on_disconnect(packet_from_broker=False, v1_rc=MQTTErrorCode.MQTT_ERR_CONN_LOST)
                return MQTTErrorCode.MQTT_ERR_CONN_LOST
        return super().loop_misc()

    def _count_unacknowledged(self) -> int:
        """How many messages wait for an acknowledgement, when the oldest has waited too long; else 0."""
        with self._out_message_mutex:
            flying = [one for one in self._out_messages.values() if one.state in _WAITING and one.timestamp]
        if not flying or time.monotonic() - flying[0].timestamp < self._acknowledge_timeout:
            return 0
        return len(flying)

    def reconnect(self) -> MQTTErrorCode:
        with self._writing:
            return super().reconnect()

    def _messages_reconnect_reset_out(self) -> None:
        """Give up what the broker would end the next connection for, too, and have paho send the rest again."""
        with self._out_message_mutex:
            for mid, message in list(self._out_messages.items()) if self.largest else ():
                if len(message.payload) + len(message._topic) > self.largest:  # noqa: SLF001
                    del self._out_messages[mid]
                    message.info._set_as_published()  # noqa: SLF001 - nobody waits for it any more
            super()._messages_reconnect_reset_out()

    def release(self) -> None:
        """Once the network thread has ended for good: close its wake-up sockets, which paho leaves to the collector."""
        self._reset_sockets(sockpair_only=True)

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._deliver(message._topic, bytes(message.payload))  # noqa: SLF001 - not yet checked to be UTF-8

    def _create_socket_connection(self) -> socket.socket:
        """With Nagle's algorithm (RFC 896) the end of a message waits until the one before is acknowledged."""
        opened = super()._create_socket_connection()
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _create_socket(self) -> Any:
        self.trouble, self._is_lost = None, False
        try:
            opened = super()._create_socket()
        except OSError as error:
            self.trouble = error.with_traceback(None)  # or it would keep the socket
            raise
        if sys.platform != "linux" or not isinstance(opened, socket.socket) or isinstance(opened, ssl.SSLSocket):
            return opened
        return PatientSocket(opened)

    def _easy_log(self, level: Any, fmt: str, *args: Any) -> None:
        """In the place of paho's log: only here paho says why a connection broke."""
        if level == paho.MQTT_LOG_ERR and args and isinstance(args[0], OSError):
            self.trouble = args[0]

    def _do_on_disconnect(self, *how: Any, **more: Any) -> None:
        """Once a connection: paho reports twice that its keep-alive ran out."""
        if not self._is_lost:
            self._is_lost = True
            super()._do_on_disconnect(*how, **more)

    def _sock_close(self) -> None:
        with self._writing:
            super()._sock_close()

    def _packet_write(self) -> MQTTErrorCode:
        with self._writing:
            return super()._packet_write()

    def _packet_queue(
        self, command: int, packet: Any, mid: int, qos: int, info: paho.MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        is_ours = command & 0xF0 == _PUBLISH and isinstance(self._sock, PatientSocket)
        if not is_ours or not self._writing.acquire(blocking=False):
            return super()._packet_queue(command, packet, mid, qos, info)
        try:
            view = memoryview(packet)  # paho cuts off what is sent, which copies anything else
            self._out_packet.append(
                {"command": command, "mid": mid, "qos": qos, "pos": 0,
                 "to_process": len(view), "packet": view, "info": info}  # type: ignore[typeddict-item]
            )  # fmt: skip
            self._packet_write()
        finally:
            self._writing.release()
        if self._out_packet:
            self._wake()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_publish(self) -> MQTTErrorCode:
        """QoS 0, which is every frame, is cut out of the packet and delivered."""
        packet = memoryview(self._in_packet["packet"])
        start = 2 + int.from_bytes(packet[:2], "big")
        if self._in_packet["command"] & _QOS or not 2 < start <= len(packet):
            return super()._handle_publish()
        self._deliver(bytes(packet[2:start]), bytes(packet[start:]))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _wake(self) -> None:
        """Have the network thread write what was not sent, and find out why."""
        if self._sockpairW is not None:
            with contextlib.suppress(BlockingIOError):  # woken already
                self._sockpairW.send(b"0")


def _publish_head(topic: str, size: int, *, retain: bool) -> bytes:
    """The packet's bytes before a payload of `size` bytes. Raises ValueError."""
    field = _topic_field(topic)
    left = size + len(field)
    if left > _LARGEST:
        raise ValueError("Payload too large.")
    head = bytearray((_PUBLISH | _RETAIN if retain else _PUBLISH,))
    while left > 0x7F:  # 2.2.3
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return bytes(head) + field


@lru_cache(1000)
def _topic_field(topic: str) -> bytes:
    """A topic as it is in a packet (MQTT 3.1.1, 1.5.3). Raises ValueError.

    Brokers end the connection for control characters and for code points that are none (1.5.3-2).
    """
    text = topic.encode()
    if not text or len(text) > 0xFFFF or _NO_TOPIC.search(topic):
        raise ValueError("Invalid topic.")
    return len(text).to_bytes(2) + text


class PatientSocket:
    """A connected TCP socket that, while a part of what was asked for is missing, is readable only once it is there."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._needs = 1  # bytes
        self.send = connected.send
        self.sendmsg = connected.sendmsg
        self.fileno = connected.fileno
        self.close = connected.close
        self.setblocking = connected.setblocking

    def recv(self, size: int) -> bytes:
        """As a socket's; raises BlockingIOError."""
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            self._need(min(size, _AT_ONCE))
            raise
        if len(data) == size:
            self._need(1)
        return data

    def _need(self, size: int) -> None:
        if size != self._needs:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._needs = size
