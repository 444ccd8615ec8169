"""operatingState of devices in core-metadata, patched only when it changes.

The service reports a device whose state it knows. With Device.AllowedFails, that many failed commands in a row set it
DOWN as well, and one that works UP again; with Device.DeviceDownTimeout it is tried in between (device-sdk-go v4).
"""

import asyncio
import logging
from typing import Protocol

import msgspec

from edgex_kit.device.cache import Devices
from edgex_kit.device.driver import Host
from edgex_kit.supervision import Causes
from edgex_kit.wire.devices import Device, OperatingState
from edgex_kit.wire.errors import EdgexError, NotFound

log = logging.getLogger(__name__)

_AGAIN = 5.0  # seconds until a change that core-metadata did not take is tried again


class Reader(Protocol):
    """Reads a resource; `Commands` is one."""

    async def read(self, name: str, source: str, *, regex: bool = True) -> object: ...


class Operating:
    """Knows why a device is DOWN and reports changes to core-metadata."""

    def __init__(self, service: Host, devices: Devices) -> None:
        self._service = service
        self._devices = devices
        self._reasons: dict[str, str] = {}
        self._fails_left: dict[str, int] = {}
        self._wanted: dict[str, OperatingState] = {}
        self._causes: dict[str, Causes] = {}  # why core-metadata does not take the state of a device
        self._changed = asyncio.Event()
        devices.on_change(self._forget_gone)

    def reason(self, name: str) -> str:
        """Why the device is DOWN; empty when we did not set it DOWN."""
        return self._reasons.get(name, "")

    def want(self, name: str, state: OperatingState, reason: str = "") -> None:
        """Set this state in core-metadata, unless it has it already."""
        if reason:
            self._reasons[name] = reason
        else:
            self._reasons.pop(name, None)
        self._wanted[name] = state
        self._changed.set()

    def assertion_broken(self, name: str, reason: str) -> None:
        """A reading contradicted its profile."""
        self.want(name, "DOWN", reason)

    def failed(self, name: str) -> None:
        """A command failed."""
        allowed = self._service.settings.device.allowed_fails
        if allowed <= 0 or not self._devices.has(name):
            return
        left = self._fails_left.get(name, allowed) - 1
        self._fails_left[name] = left
        if left == 0:
            self.want(name, "DOWN", f"{allowed} commands in a row failed")

    def succeeded(self, name: str) -> None:
        """A command worked."""
        if self._fails_left.pop(name, None) is not None:
            self.want(name, "UP")

    def is_trying(self, name: str) -> bool:
        """Whether a DOWN device is served, to find out whether it is back."""
        settings = self._service.settings.device
        return settings.allowed_fails > 0 and settings.device_down_timeout > 0 and self._fails_left.get(name, 1) <= 0

    async def run(self) -> None:
        """Report to core-metadata, for ever; the newest state of a device counts."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._wanted:
                name = next(iter(self._wanted))  # waits longest: one that is always refused delays no other
                state = self._wanted.pop(name)
                if not await self._patch(name, state):
                    self._wanted.setdefault(name, state)
                    await asyncio.sleep(_AGAIN)

    async def retry(self, commands: Reader) -> None:
        """Read each device that failed commands have set DOWN every DeviceDownTimeout, for ever; never when it is 0."""
        settings = self._service.settings.device
        if settings.device_down_timeout <= 0 or settings.allowed_fails <= 0:
            return
        while True:
            await asyncio.sleep(settings.device_down_timeout)
            for device in self._devices.all():
                if device.operating_state == "DOWN" and self.is_trying(device.name):
                    await self._retry(device, commands)

    async def _retry(self, device: Device, commands: Reader) -> None:
        profile = self._devices.find_profile(device.profile_name)
        resources = profile.device_resources or () if profile else ()
        readable = next((resource for resource in resources if resource.is_readable), None)
        if readable is None:
            self.succeeded(device.name)
            return
        try:
            await commands.read(device.name, readable.name, regex=False)
        except EdgexError as error:
            log.info("device '%s' is still DOWN: %s", device.name, error)

    async def _patch(self, name: str, state: OperatingState) -> bool:
        """False when it has to be tried again."""
        device = self._devices.find(name)
        if device is None or device.operating_state == state:
            return True
        try:
            await self._service.metadata.patch_device(name, operatingState=state)
        except NotFound:
            return True
        except EdgexError as error:
            if self._causes.setdefault(name, Causes()).is_new(error):
                log.warning("operatingState of device '%s' cannot be set %s yet: %s", name, state, error)
            return False
        self._causes.pop(name, None)
        # The system event of this change may come after the next change.
        current = self._devices.find(name)
        if current is not None:  # one that was deleted meanwhile must not come back
            self._devices.put(msgspec.structs.replace(current, operating_state=state))
        log.info("device '%s' is %s%s", name, state, f": {self.reason(name)}" if state == "DOWN" else "")
        return True

    def _forget_gone(self, name: str) -> None:
        if not self._devices.has(name):
            self._reasons.pop(name, None)
            self._fails_left.pop(name, None)
            self._wanted.pop(name, None)
            self._causes.pop(name, None)
