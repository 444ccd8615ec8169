"""What others ask of us over the bus: commands and device validation (contract 1.9, 1.10).

Commands run side by side, so that a slow device delays nobody else and our own PATCHes can be validated meanwhile.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from msgspec import Struct, UnsetType

from edgex_kit.bus.bus import Message
from edgex_kit.device.commands import Commands
from edgex_kit.device.correlation import correlation
from edgex_kit.device.events import Outbox
from edgex_kit.device.host import Host
from edgex_kit.device.refusals import Refusals
from edgex_kit.wire import codec
from edgex_kit.wire.codec import payload_as
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed
from edgex_kit.wire.messages import API, Envelope, Event, EventResponse
from edgex_kit.wire.topics import CommandTopic

log = logging.getLogger(__name__)

_AT_ONCE = 32  # commands of the bus served at the same time; more wait


class _AddDevice(Struct):
    """A validation request as core-metadata sends it."""

    device: Device


class CommandDoor:
    """Answers edgex/device/command/request/<service>/#."""

    def __init__(self, service: Host, commands: Commands, outbox: Outbox) -> None:
        self._service = service
        self._commands = commands
        self._outbox = outbox
        self._refusals = Refusals(service.metrics, "commands")
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def serve(self, messages: AsyncIterator[Message]) -> None:
        """Answer for ever."""
        async with asyncio.TaskGroup() as tasks:
            async for message in messages:
                await self._places.acquire()
                tasks.create_task(self._answer(message)).add_done_callback(lambda _: self._places.release())

    async def _answer(self, message: Message) -> None:
        try:
            topic = self._service.topics.parse_command(message.topic)
            envelope = codec.decode_envelope(message.data)
            if topic.method not in ("get", "set"):
                raise Malformed(f"unknown method '{topic.method}', only get and set are known")
            if not envelope.request_id:
                raise Malformed("a command without a requestID, which nobody could be answered on")
        except Malformed as error:
            self._refusals.note(message, error)
            return
        serve = self._get if topic.method == "get" else self._set
        asked = f"{topic.method} of '{topic.command[:80]}' of device '{topic.device[:80]}'"
        try:
            await serve(topic, envelope)
        except EdgexError as error:
            log.info("%s refused: %s", asked, str(error)[:400])
            self._reply_error(envelope, error)
        except Exception:  # one command's failure is its own; it is answered, and the others are served on
            log.exception("%s failed", asked)
            self._reply_error(envelope, EdgexError("internal error"))

    async def _get(self, topic: CommandTopic, envelope: Envelope) -> None:
        query = _query(envelope)
        event = await self._commands.read(topic.device, topic.command, regex=query.get("ds-regexcmd") != "false")
        answer = EventResponse(api_version=API, request_id=envelope.request_id, status_code=200, event=event)
        self._reply(envelope, None if query.get("ds-returnevent") == "false" else answer)
        if query.get("ds-pushevent") == "true":
            self._outbox.send(event, envelope.correlation_id)

    async def _set(self, topic: CommandTopic, envelope: Envelope) -> None:
        body = codec.decode_payload(envelope)
        if not isinstance(body, dict):
            raise Malformed(f"a set needs an object of resources and values, not {type(body).__name__}")
        correlation.set(envelope.correlation_id)
        event: Event | None = await self._commands.write(topic.device, topic.command, body)
        self._reply(envelope, None)
        if event is not None:
            self._outbox.send(event, envelope.correlation_id)

    def _reply(self, envelope: Envelope, body: Any) -> None:
        """Raises TooLarge for an answer over MaxEventSize, which is then answered as an error."""
        _reply(self._service, envelope, body, self._service.settings.max_event_size)

    def _reply_error(self, envelope: Envelope, error: EdgexError) -> None:
        _reply_error(self._service, envelope, error)


class ValidationDoor:
    """Answers edgex/<service>/validate/device: core-metadata asks before it stores a device."""

    def __init__(self, service: Host, check: Callable[[Device], None]) -> None:
        self._service = service
        self._check = check
        self._refusals = Refusals(service.metrics, "validation")

    async def serve(self, messages: AsyncIterator[Message]) -> None:
        """Answer for ever; nothing in here waits for anybody."""
        async for message in messages:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        try:
            envelope = codec.decode_envelope(message.data)
        except Malformed as error:
            self._refusals.note(message, error)
            return
        try:
            self._check(payload_as(envelope, _AddDevice).device)
            _reply(self._service, envelope, None, 0)
        except EdgexError as error:
            if isinstance(error, Malformed):
                self._refusals.note(message, error)
            _reply_error(self._service, envelope, error)


def _query(envelope: Envelope) -> dict[str, str]:
    given = envelope.query_params
    return {} if given is None or isinstance(given, UnsetType) else given


def _reply(service: Host, to: Envelope, body: Any, limit_kb: int) -> None:
    data = codec.encode(
        body,
        correlation_id=to.correlation_id,
        request_id=to.request_id,
        encoding=service.encoding,
        limit_kb=limit_kb,
    )
    _send(service, to, data)


def _reply_error(service: Host, to: Envelope, error: EdgexError) -> None:
    _send(service, to, codec.encode_error(str(error), request_id=to.request_id, encoding=service.encoding))


def _send(service: Host, to: Envelope, data: bytes) -> None:
    try:
        sent = service.bus.publish(service.topics.response(service.name, to.request_id), data)
    except Invalid as error:  # a requestID is whatever the asker likes, and part of the topic
        log.warning("an answer is lost: %s", error)
        return
    if sent is None:
        log.warning("an answer is lost: there is no message broker")
