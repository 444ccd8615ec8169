"""Reading and writing a device by command, resource or regular expression, for REST and the bus."""

import asyncio
import time
import weakref
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from edgex_kit.device.cache import Devices
from edgex_kit.device.command_values import (
    Operation,
    Selection,
    select_to_read,
    select_to_write,
    writes_from_body,
)
from edgex_kit.device.driver import Driver, Host, Tagged
from edgex_kit.device.operating_state import Operating
from edgex_kit.device.settings import DeviceSettings
from edgex_kit.service.clock import new_origin
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import AssertionBroken, EdgexError, Locked
from edgex_kit.wire.messages import Event, Reading
from edgex_kit.wire.readings import event_from_readings, reading_from

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""The correlation id of the request that is being served, for log lines; REST and the bus set it."""


class Commands:
    """Serves commands: any number at once, writes of one device one after another."""

    def __init__(
        self, service: Host, devices: Devices, driver: Driver, operating: Operating, *, serves_down: bool = False
    ) -> None:
        self._service = service
        self._devices = devices
        self._driver = driver
        self._operating = operating
        self._serves_down = serves_down  # a DOWN device is served: a command may bring it back
        self._writing: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def read(self, name: str, source: str, *, regex: bool = True) -> Event:
        """The event of a device's command, resource, or of all resources that a regex names."""
        try:
            device = self._usable(name)
            profile = self._devices.profile_of(device)
            selection = select_to_read(profile, source, regex=regex, most=self._settings.device.max_cmd_ops)
            values = [await self._driver.read(device, operation.resource) for operation in selection.operations]
            event = self._event(device, selection, values)
        except EdgexError as error:
            await self._failed(name, error)
            raise
        await self._succeeded(name)
        return event

    async def write(self, name: str, source: str, body: Mapping[str, Any]) -> Event | None:
        """Write what `body` says; the event to publish, or None when what was written cannot be read."""
        try:
            device = self._usable(name)
            profile = self._devices.profile_of(device)
            selection = select_to_write(profile, source, most=self._settings.device.max_cmd_ops)
            writes = writes_from_body(selection, body, transform=self._settings.device.data_transform)
            async with self._writing.setdefault(name, asyncio.Lock()):
                for one in writes:
                    await self._driver.write(device, one.operation.resource, one.value)
            event = self._event(device, selection, [one.value for one in writes]) if selection.is_readable else None
        except EdgexError as error:
            await self._failed(name, error)
            raise
        await self._succeeded(name)
        return event

    async def report(self, name: str, function: str) -> Event | None:
        """The event of the resource with that getFunction, whatever the device's state; None when it has none."""
        device = self._devices.get(name)
        for resource in self._devices.profile_of(device).device_resources or ():
            if resource.is_readable and (resource.attributes or {}).get("getFunction") == function:
                value = await self._driver.read(device, resource)
                return self._event(device, Selection(resource.name, (Operation(resource),)), [value])
        return None

    @property
    def _settings(self) -> DeviceSettings:
        return self._service.settings

    def _usable(self, name: str) -> Device:
        device = self._devices.check_unlocked(name)
        if device.operating_state == "DOWN" and not self._serves_down and not self._operating.is_trying(name):
            reason = self._operating.reason(name)
            raise Locked(f"device {name} OperatingState is DOWN{': ' if reason else ''}{reason}")
        return device

    def _event(self, device: Device, selection: Selection, values: Sequence[Any]) -> Event:
        origin = new_origin()
        pairs = zip(selection.operations, values, strict=True)
        readings = [self._reading(device, operation, value, origin) for operation, value in pairs]
        tags = [value.tags for value in values if isinstance(value, Tagged)]
        return event_from_readings(
            readings,
            device_name=device.name,
            profile_name=device.profile_name,
            source_name=selection.source,
            origin=origin,
            command_tags=selection.tags,
            device_tags=device.tags,
            tags=tags[0] if tags else None,
        )

    def _reading(self, device: Device, operation: Operation, value: Any, origin: int) -> Reading:
        return reading_from(
            value.value if isinstance(value, Tagged) else value,
            operation.resource,
            device.name,
            device.profile_name,
            origin,
            with_units=self._settings.writable.reading.reading_units,
            transform=self._settings.device.data_transform,
            mappings=operation.mappings,
        )

    async def _failed(self, name: str, error: EdgexError) -> None:
        if isinstance(error, AssertionBroken):
            self._operating.assertion_broken(name, str(error))
        self._operating.failed(name)

    async def _succeeded(self, name: str) -> None:
        self._service.metrics.gauge("LastConnected", device=name).set(time.time_ns())
        self._operating.succeeded(name)
