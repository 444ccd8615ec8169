"""What the service answers and follows on the bus: commands, validation of devices, system events of core-metadata.

Commands run side by side, so that a slow device delays nobody else and our own PATCHes can be validated meanwhile.
System events are applied one after another, because their order matters.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from msgspec import Struct

from edgex_kit.bus.bus import Message, describe_malformed
from edgex_kit.device.commands import Commands, correlation
from edgex_kit.device.driver import Driver, Host
from edgex_kit.device.events import Outbox
from edgex_kit.device.registration import Registration, base_name, fetch_profile
from edgex_kit.service.metrics import Metrics
from edgex_kit.supervision import keep
from edgex_kit.wire import codec
from edgex_kit.wire.codec import convert, payload_as
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, ProvisionWatcher
from edgex_kit.wire.errors import EdgexError, Malformed
from edgex_kit.wire.messages import API, Envelope, Event, EventResponse, SystemEvent
from edgex_kit.wire.topics import CommandTopic

log = logging.getLogger(__name__)

_AT_ONCE = 32  # commands of the bus served at the same time; more wait
_QUIET = 60.0  # seconds between log lines about malformed messages

Apply = Callable[[SystemEvent], Awaitable[None]]


@contextlib.asynccontextmanager
async def open_bus_api(
    service: Host,
    registration: Registration,
    driver: Driver,
    commands: Commands,
    outbox: Outbox,
    tasks: asyncio.TaskGroup,
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Answer commands and validation from now on, before core-metadata knows the service.

    Yields a function that follows system events for ever, beginning with those that have arrived since: they wait until
    the records they change have been read.
    """
    topics, bus, name = service.topics, service.bus, service.name
    async with (
        bus.messages(topics.command_requests(name)) as requests,
        bus.messages(topics.validate_device(name)) as validations,
        bus.messages(
            topics.system_events(name),
            topics.deleted_profiles(),
            topics.system_events(base_name(service), "provisionwatcher"),
        ) as events,
    ):
        answering = {
            "commands": partial(BusCommands(service, commands, outbox).serve, requests),
            "validation": partial(Validation(service, driver.check).serve, validations),
        }
        keep(tasks, answering)
        yield partial(SystemEvents(service, registration).serve, events)


class Refusals:
    """Messages that could not be understood: each is counted, and at most one a minute is logged."""

    def __init__(self, metrics: Metrics, kind: str) -> None:
        self._count = metrics.counter("MalformedMessages", kind=kind)
        self._kind = kind
        self._logged_at = -_QUIET
        self._unlogged = 0

    def note(self, message: Message, error: Malformed) -> None:
        """Count it, and log it if none was logged for a while."""
        self._count.add()
        now = time.monotonic()
        if now - self._logged_at < _QUIET:
            self._unlogged += 1
            return
        more = f"; {self._unlogged} more since the last such line" if self._unlogged else ""
        log.warning("%s: %s%s", self._kind, describe_malformed(message, error), more)
        self._logged_at, self._unlogged = now, 0


class _AddDevice(Struct):
    """A validation request as core-metadata sends it."""

    device: Device


class BusCommands:
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
                raise Malformed("a command without a requestID, which is needed for an answer")
        except Malformed as error:
            self._refusals.note(message, error)
            return
        serve = self._get if topic.method == "get" else self._set
        what = f"{topic.method} of '{topic.command[:80]}' of device '{topic.device[:80]}'"
        try:
            await serve(topic, envelope)
        except EdgexError as error:
            log.info("%s refused: %s", what, str(error)[:400])
            _reply_error(self._service, envelope, error)
        except Exception:  # one command's failure is its own; it is answered, and the others are served on
            log.exception("%s failed", what)
            _reply_error(self._service, envelope, EdgexError("internal error"))

    async def _get(self, topic: CommandTopic, envelope: Envelope) -> None:
        query = envelope.query_params or {}
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


class Validation:
    """Answers edgex/<service>/validate/device: core-metadata asks before it stores a device."""

    def __init__(self, service: Host, check: Callable[[Device], None]) -> None:
        self._service = service
        self._check = check
        self._refusals = Refusals(service.metrics, "validation")

    async def serve(self, messages: AsyncIterator[Message]) -> None:
        """Answer for ever."""
        async for message in messages:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        try:
            envelope = codec.decode_envelope(message.data)
        except Malformed as error:
            self._refusals.note(message, error)
            return
        try:
            device = payload_as(envelope, _AddDevice).device
            self._service.topics.check_name("device name", device.name)
            self._service.topics.check_name("profile name", device.profile_name)
            self._check(device)
            _reply(self._service, envelope, None, 0)
        except EdgexError as error:
            if isinstance(error, Malformed):
                self._refusals.note(message, error)
            _reply_error(self._service, envelope, error)


class SystemEvents:
    """Applies changes of devices, profiles, watchers and our own record to the cache.

    After one that could not be applied everything is read from core-metadata.
    """

    def __init__(self, service: Host, registration: Registration) -> None:
        self._metadata = service.metadata
        self._devices = registration.devices
        self._refresh = registration.request_refresh
        self._refusals = Refusals(service.metrics, "system events")
        self._apply: dict[tuple[str, str], Apply] = {
            ("device", "add"): self._put_device,
            ("device", "update"): self._put_device,
            ("device", "delete"): self._remove_device,
            ("deviceprofile", "update"): self._put_profile,
            ("deviceprofile", "delete"): self._remove_profile,
            ("provisionwatcher", "add"): self._put_watcher,
            ("provisionwatcher", "update"): self._put_watcher,
            ("provisionwatcher", "delete"): self._remove_watcher,
            ("deviceservice", "update"): self._put_service,
        }

    async def serve(self, messages: AsyncIterator[Message]) -> None:
        """Follow for ever."""
        async for message in messages:
            try:
                event = payload_as(codec.decode_envelope(message.data), SystemEvent)
                apply = self._apply.get((event.type, event.action))
                if apply is not None:
                    await apply(event)
            except Malformed as error:
                self._refusals.note(message, error)
            except EdgexError as error:
                log.warning("system event on '%s' could not be followed yet: %s", message.topic, error)
                self._refresh()
            except Exception:  # one event's failure is its own; the next ones are followed
                log.exception("system event on '%s' failed", message.topic)
                self._refresh()

    async def _put_device(self, event: SystemEvent) -> None:
        device = convert(event.details, Device)
        if device.service_name != self._devices.service:  # it has moved to another service
            self._devices.remove(device.name)
            return
        await fetch_profile(self._metadata, self._devices, device.profile_name)
        self._devices.put(device)
        log.info("device '%s' %s", device.name, "added" if event.action == "add" else "updated")

    async def _remove_device(self, event: SystemEvent) -> None:
        name = convert(event.details, Device).name
        self._devices.remove(name)
        log.info("device '%s' removed", name)

    async def _put_profile(self, event: SystemEvent) -> None:
        profile = convert(event.details, DeviceProfile)
        if self._devices.find_profile(profile.name) is not None:
            self._devices.put_profile(profile)

    async def _remove_profile(self, event: SystemEvent) -> None:
        self._devices.remove_profile(convert(event.details, DeviceProfile).name)

    async def _put_watcher(self, event: SystemEvent) -> None:
        watcher = convert(event.details, ProvisionWatcher)
        if event.owner == watcher.service_name:
            self._devices.put_watcher(watcher)
        else:  # it has moved to another service, and its old owner is told too
            self._devices.remove_watcher(watcher.name)

    async def _remove_watcher(self, event: SystemEvent) -> None:
        self._devices.remove_watcher(convert(event.details, ProvisionWatcher).name)

    async def _put_service(self, event: SystemEvent) -> None:
        record = convert(event.details, DeviceService)
        if record.name == self._devices.service:
            self._devices.put_service(record.admin_state, record.labels or ())


def _reply(service: Host, to: Envelope, body: Any, limit_kb: int) -> None:
    data = codec.encode(
        body, correlation_id=to.correlation_id, request_id=to.request_id, encoding=service.encoding, limit_kb=limit_kb
    )
    _send(service, to, data)


def _reply_error(service: Host, to: Envelope, error: EdgexError) -> None:
    _send(service, to, codec.encode_error(str(error), request_id=to.request_id, encoding=service.encoding))


def _send(service: Host, to: Envelope, data: bytes) -> None:
    try:
        sent = service.bus.publish(service.topics.response(service.name, to.request_id), data)
    except EdgexError as error:  # a requestID is any text of the sender, and part of the topic
        log.warning("an answer is lost: %s", error)
        return
    if sent is None:
        log.warning("an answer is lost: there is no message broker")
