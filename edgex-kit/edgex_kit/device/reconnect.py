"""Devices that too many failed commands have set DOWN are tried again: Device.DeviceDownTimeout (contract 6.9)."""

import asyncio
import logging

from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.host import Host
from edgex_kit.device.operating_state import Operating
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError

log = logging.getLogger(__name__)


async def bring_back(service: Host, devices: Devices, commands: Commands, operating: Operating) -> None:
    """Read every such device each DeviceDownTimeout until it answers, for ever; at once nothing when that is 0."""
    timeout = service.settings.device.device_down_timeout
    if timeout <= 0 or service.settings.device.allowed_fails <= 0:
        return
    while True:
        await asyncio.sleep(timeout)
        for device in devices.all():
            if device.operating_state == "DOWN" and operating.is_trying(device.name):
                await _try(device, devices, commands, operating)


async def _try(device: Device, devices: Devices, commands: Commands, operating: Operating) -> None:
    profile = devices.find_profile(device.profile_name)
    resources = profile.device_resources or () if profile else ()
    readable = next((resource for resource in resources if resource.is_readable), None)
    if readable is None:
        operating.succeeded(device.name)
        return
    try:
        await commands.read(device.name, readable.name, regex=False)
    except EdgexError as error:
        log.info("device '%s' is still DOWN: %s", device.name, error)
