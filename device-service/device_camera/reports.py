"""A camera's state as an event, whenever it changes: StreamingStatus, with the reason when frames stop coming.

A device that is DOWN refuses commands, so this is how others learn why (contract 6.4, 6.7).
"""

import asyncio
import logging

from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.service.service import Service
from edgex_kit.wire.errors import EdgexError

from device_camera.capture.state import Status
from device_camera.config import CameraService

log = logging.getLogger(__name__)

_RESOURCE = "StreamingStatus"


class Reports:
    """Sends the newest state of each camera that has changed."""

    def __init__(self, service: Service[CameraService], outbox: Outbox) -> None:
        self._service = service
        self._outbox = outbox
        self._changed: dict[str, None] = {}  # in the order of change
        self._woken = asyncio.Event()

    def follow(self, name: str, _status: Status) -> None:
        """A camera's state has changed."""
        self._changed[name] = None
        self._woken.set()

    async def run(self, commands: Commands) -> None:
        """Send for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._changed:
                name = next(iter(self._changed))
                del self._changed[name]
                if self._service.settings.device.enable_async_readings:
                    await self._send(commands, name)

    async def _send(self, commands: Commands, name: str) -> None:
        try:
            event = await commands.report(name, _RESOURCE)
        except EdgexError as error:  # the device has just gone, or has no profile
            log.debug("no report of '%s': %s", name, error)
            return
        if event is not None:
            self._outbox.send(event, "")
