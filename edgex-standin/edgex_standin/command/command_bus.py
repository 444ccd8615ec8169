"""core-command over the bus: core/command/request/# and core/commandquery/request/#.

A request is passed on to the device's service unchanged, and its answer back, but for `receivedTopic`. A service that
does not answer is logged and not answered: callers need a time limit of their own.
"""

import asyncio
import logging
from urllib.parse import unquote

import msgspec
from edgex_kit.bus.bus import Message
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed
from edgex_kit.wire.messages import API, Envelope

from edgex_standin.command.command import commands_of_all, commands_of_one, device_of
from edgex_standin.core import COMMAND, Core
from edgex_standin.web import Page, parse_integer

log = logging.getLogger(__name__)

AT_ONCE = 32  # requests being worked on; more of them wait
WAITING = 1000  # requests


class CommandBus:
    """Takes command requests and command queries from the bus."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Take requests for ever."""
        topics = self._core.topics
        filters = (topics.below("core/command/request/#"), topics.below("core/commandquery/request/#"))
        async with (
            self._core.bus.messages(*filters, bound=WAITING) as messages,
            asyncio.TaskGroup() as tasks,
        ):
            async for message in messages:
                await self._free.acquire()
                tasks.create_task(self._take(message)).add_done_callback(lambda _task: self._free.release())

    async def _take(self, message: Message) -> None:
        try:
            envelope = codec.decode_envelope(message.data)
            if not envelope.request_id.strip():
                raise Malformed("it has no requestID to answer to")
        except Malformed as error:
            log.warning("a request on '%s' was not answered: %s", message.topic, error)
            return
        try:
            await self._answer(message, envelope)
        except EdgexError as error:
            log.warning("a request on '%s' was refused: %s", message.topic, error)
            self._publish(
                envelope, codec.encode_error(str(error), request_id=envelope.request_id, encoding=self._core.encoding)
            )
        except Exception:  # one request's failure is its own; the others are served on
            log.exception("a request on '%s' failed", message.topic)

    async def _answer(self, message: Message, envelope: Envelope) -> None:
        if message.topic.startswith(self._core.topics.below("core/commandquery/")):
            self._publish(envelope, await self._query(message, envelope))
        else:
            await self._pass_on(message, envelope)

    async def _pass_on(self, message: Message, envelope: Envelope) -> None:
        """To the device's service, and its answer back."""
        topics = self._core.topics
        device, command, method = map(unquote, message.topic.split("/")[-3:])
        if method.lower() not in ("get", "set"):
            raise Invalid(f"unknown request method: {method}, only 'get' or 'set' is allowed")
        service = await self._service_of(device)
        _check_flags(envelope)
        request = topics.command_request(service, device, command, method)
        reply_to = topics.response(service, envelope.request_id)
        async with self._core.bus.messages(reply_to, bound=4) as answers:
            self._core.bus.publish(request, _relayed(message, envelope))
            try:
                async with asyncio.timeout(self._core.service.timeout_s or None):
                    said = await anext(answers)
            except TimeoutError:
                log.warning("request to topic '%s' failed: no answer from %s", request, service)
                return
        self._publish(envelope, _relayed(said, codec.decode_envelope(said.data)))

    async def _query(self, message: Message, envelope: Envelope) -> bytes:
        name = unquote(message.topic.rpartition("/")[2])
        url = self._core.places[COMMAND].url
        head = {"apiVersion": API, "requestId": envelope.request_id, "statusCode": 200}
        if name.lower() == "all":
            page = _page_of(envelope)
            items, total = await self._core.store.run(lambda db: commands_of_all(db, page, url))
            body = {**head, "totalCount": total, "deviceCoreCommands": items}
        else:
            try:
                found = await self._core.store.run(lambda db: commands_of_one(db, name, url))
            except EdgexError as error:
                raise type(error)(f"failed to get commands by device name '{name}': {error}") from error
            body = {**head, "deviceCoreCommand": found}
        return codec.encode(
            body,
            correlation_id=envelope.correlation_id,
            request_id=envelope.request_id,
            encoding=self._core.encoding,
        )

    async def _service_of(self, device: str) -> str:
        try:
            return str((await self._core.store.run(lambda db: device_of(db, device)))["serviceName"])
        except EdgexError as error:
            text = f"invalid request topic: failed to get Device by name {device}: {error}"
            raise type(error)(text) from error

    def _publish(self, envelope: Envelope, data: bytes) -> None:
        topic = self._core.topics.join("response", COMMAND, envelope.request_id)
        if self._core.bus.publish(topic, data) is None:
            log.warning("an answer on '%s' was lost: no message broker", topic)


def _relayed(message: Message, envelope: Envelope) -> bytes:
    """The message again, with the topic it came on, in the form it came in."""
    payload = envelope.payload
    whole = msgspec.structs.replace(
        envelope,
        received_topic=message.topic,
        payload=bytes(payload).decode() if isinstance(payload, memoryview) else payload,
        query_params=envelope.query_params or msgspec.UNSET,
    )
    return codec.encode_envelope(whole, cbor=not message.data.startswith(b"{"))


def _check_flags(envelope: Envelope) -> None:
    given = envelope.query_params or {}
    for key in ("ds-returnevent", "ds-pushevent"):
        if given.get(key, "true") not in ("true", "false"):
            raise Invalid(f"invalid query parameter, {key} has to be 'true' or 'false'")


def _page_of(envelope: Envelope) -> Page:
    given = envelope.query_params or {}
    offset, limit = (parse_integer(key, given.get(key, default)) for key, default in (("offset", "0"), ("limit", "20")))
    return Page(max(offset, 0), limit)
