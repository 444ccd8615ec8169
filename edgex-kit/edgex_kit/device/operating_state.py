"""operatingState of devices in core-metadata: changed only when it has to change (contract 6.9).

The service says what it wants of a device whose state it knows. With Device.AllowedFails, so many failed commands in a
row set it DOWN as well, and one that works UP again; with Device.DeviceDownTimeout it is tried by itself in between.
"""

import asyncio
import logging

import msgspec

from edgex_kit.device.cache import Devices
from edgex_kit.device.host import Host
from edgex_kit.wire.devices import OperatingState
from edgex_kit.wire.errors import EdgexError, NotFound

log = logging.getLogger(__name__)

_AGAIN = 5.0  # seconds until a change that core-metadata did not take is tried again


class Operating:
    """Knows why a device is DOWN and tells core-metadata of changes."""

    def __init__(self, service: Host, devices: Devices) -> None:
        self._service = service
        self._devices = devices
        self._reasons: dict[str, str] = {}
        self._fails_left: dict[str, int] = {}
        self._wanted: dict[str, OperatingState] = {}
        self._woken = asyncio.Event()
        devices.on_change(self._forget_gone)

    def reason(self, name: str) -> str:
        """Why we set the device DOWN, or nothing."""
        return self._reasons.get(name, "")

    def want(self, name: str, state: OperatingState, reason: str = "") -> None:
        """Tell core-metadata of this state, unless it knows it."""
        if reason:
            self._reasons[name] = reason
        else:
            self._reasons.pop(name, None)
        self._wanted[name] = state
        self._woken.set()

    def assertion_broken(self, name: str, reason: str) -> None:
        """A reading contradicted its profile."""
        self.want(name, "DOWN", reason)

    def failed(self, name: str) -> None:
        """A command failed, for whatever reason."""
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
        """Whether commands are let through to a DOWN device to see whether it is back (contract 6.9)."""
        settings = self._service.settings.device
        return settings.allowed_fails > 0 and settings.device_down_timeout > 0 and self._fails_left.get(name, 1) <= 0

    async def run(self) -> None:
        """Tell core-metadata, for ever; the newest state of a device counts."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._wanted:
                name = next(iter(self._wanted))  # the longest waiting: one that is always refused holds up no other
                state = self._wanted.pop(name)
                if not await self._patch(name, state):
                    self._wanted.setdefault(name, state)
                    await asyncio.sleep(_AGAIN)

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
            log.warning("operatingState of device '%s' cannot be set %s: %s", name, state, error)
            return False
        # Not left to core-metadata's echo: the next change may come before it.
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
