"""System events of core-metadata: devices, profiles, watchers and our own record follow at once (contract 1.11).

They are taken one after another, because their order is their meaning. What was missed while the bus was away is read
from core-metadata when it is back (`joining`).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from edgex_kit.bus.bus import Message
from edgex_kit.clients.metadata import Metadata
from edgex_kit.device.cache import Devices
from edgex_kit.device.refusals import Refusals
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire import codec
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, ProvisionWatcher
from edgex_kit.wire.errors import EdgexError, Malformed, NotFound
from edgex_kit.wire.messages import SystemEvent

log = logging.getLogger(__name__)

Apply = Callable[[SystemEvent], Awaitable[None]]


class SystemEventDoor:
    """Takes over what core-metadata says."""

    def __init__(self, metadata: Metadata, devices: Devices, metrics: Metrics) -> None:
        self._metadata = metadata
        self._devices = devices
        self._refusals = Refusals(metrics, "system events")
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
                event = codec.payload_as(codec.decode_envelope(message.data), SystemEvent)
                apply = self._apply.get((event.type, event.action))
                if apply is not None:
                    await apply(event)
            except Malformed as error:
                self._refusals.note(message, error)
            except EdgexError as error:
                log.warning("system event on '%s' could not be followed: %s", message.topic, error)
            except Exception:  # one event's failure is its own; the next ones are followed
                log.exception("system event on '%s' failed", message.topic)

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


async def fetch_profile(metadata: Metadata, devices: Devices, name: str) -> None:
    """Make a device's profile known. Without it the device is kept and answers 423."""
    if not name:
        return
    try:
        devices.put_profile(await metadata.profile(name))
    except NotFound:
        log.warning("profile '%s' is not in core-metadata; its devices answer 423", name)
