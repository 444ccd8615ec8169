"""Our records in core-metadata: read at the start, and after each time the bus was away and system events were lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from edgex_kit.clients.metadata import Metadata
from edgex_kit.device.cache import Devices
from edgex_kit.device.driver import Host
from edgex_kit.supervision import retry
from edgex_kit.wire.devices import DeviceService
from edgex_kit.wire.errors import EdgexError, NotFound

log = logging.getLogger(__name__)

CHECK_EVERY = 30.0  # seconds between two checks whether core-metadata still knows this service
_PATIENCE = 60.0  # seconds between log lines about a broker that is missing


class Registration:
    """Reads our devices, profiles and watchers, and writes our own record."""

    def __init__(self, service: Host, devices: Devices, provision: Callable[[], Awaitable[None]]) -> None:
        self.devices = devices
        self.is_done = False  # core-metadata knows us, and we know our devices
        self.losses = 0  # how often core-metadata had lost our record, and with it our devices
        self._service = service
        self._port = 0
        self._provision = provision  # adds to core-metadata what it lacks of us
        self._loop = asyncio.get_running_loop()
        self._outdated = asyncio.Event()
        service.bus.on_connected(self._bus_connected)

    async def register(self, port: int) -> None:
        """Wait for the broker, then for core-metadata; read what it knows of us, and add what it lacks."""
        while not await self._service.bus.settle(_PATIENCE):
            log.warning("waiting for the message broker")
        self._outdated.clear()
        self._port = port
        await until_answered("core-metadata", self.load)
        await until_answered("core-metadata", partial(self._put_record, port))
        await until_answered("core-metadata", self._provision)
        self.is_done = True

    async def load(self, *, is_lost: bool = False) -> None:
        """Read everything; `is_lost` says that core-metadata had lost its data. Raises what core-metadata answers."""
        metadata, devices = self._service.metadata, self.devices
        known = await metadata.devices_of(self._service.name)
        for name in {device.profile_name for device in known}:
            await fetch_profile(metadata, devices, name)
        self.losses += is_lost
        devices.keep_only(device.name for device in known)
        for device in known:
            devices.put(device)
        watchers = await metadata.watchers_of(base_name(self._service))
        devices.keep_only_watchers(watcher.name for watcher in watchers)
        for watcher in watchers:
            devices.put_watcher(watcher)

    async def refresh(self) -> None:
        """Read everything again after each time the bus was away or a system event failed, for ever.

        Without either, check now and then whether core-metadata still knows us: it may have lost its data.
        """
        while True:
            try:
                async with asyncio.timeout(CHECK_EVERY):
                    await self._outdated.wait()
            except TimeoutError:
                if not await self._is_lost():
                    continue
            self._outdated.clear()
            await retry(self._reload, "core-metadata cannot be read")

    def request_refresh(self) -> None:
        """Have everything read again: what we know may be out of date."""
        self._outdated.set()

    async def _put_record(self, port: int) -> None:
        """Create our record, or bring it up to date; a LOCKED one stays LOCKED. Raises what core-metadata answers."""
        own = self._service.settings.service
        record = await self._service.metadata.put_service(
            DeviceService(
                name=self._service.name,
                labels=self._service.settings.device.label_list,
                base_address=f"http://{own.host}:{port}",
                admin_state="UNLOCKED",
                properties={},
            )
        )
        self.devices.put_service(record.admin_state, record.labels or ())

    async def _reload(self) -> None:
        record = await self._service.metadata.service(self._service.name)
        if record is not None:
            self.devices.put_service(record.admin_state, record.labels or ())
        else:
            await self._put_record(self._port)
            log.warning("core-metadata had lost the record of %s; it is registered again", self._service.name)
        await self.load(is_lost=record is None)
        if record is None:
            await self._provision()

    async def _is_lost(self) -> bool:
        try:
            return await self._service.metadata.service(self._service.name) is None
        except EdgexError:  # it is away, which is no loss
            return False

    def _bus_connected(self) -> None:
        self._loop.call_soon_threadsafe(self._outdated.set)


async def fetch_profile(metadata: Metadata, devices: Devices, name: str) -> None:
    """Read a device's profile. Without it the device is kept and answers 423."""
    if not name:
        return
    try:
        devices.put_profile(await metadata.profile(name))
    except NotFound:
        log.warning("profile '%s' is not in core-metadata; its devices answer 423", name)


async def until_answered(whom: str, call: Callable[[], Awaitable[None]]) -> None:
    """Do `call` until the other side answers; logs each cause once. Raises what it is refused for (4xx) at once."""
    await retry(call, f"waiting for {whom}", is_final=_is_refusal)


def _is_refusal(error: EdgexError) -> bool:
    """Whether waiting is in vain. A core-metadata that is not in the registry is one that is not up yet.

    core-metadata answers 500 when this service has refused a device of its own.
    """
    if "validation failed" in str(error):
        return True
    return error.status < 500 and not (error.status == 404 and "registry" in str(error))


def base_name(service: Host) -> str:
    """Our name without the instance of -i: watchers belong to all instances."""
    return service.name.removesuffix(f"_{service.flags.instance}") if service.flags.instance else service.name
