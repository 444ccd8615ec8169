"""Discovery: cameras attached to this machine become devices where a provision watcher wants them (contract 6.8).

One run at a time, on request or every Device.Discovery.Interval. A camera that has moved to another node keeps its
device, whose source follows.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from edgex_kit.device.cache import Devices
from edgex_kit.service.clock import new_origin
from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError, Locked, NotFound, Unavailable
from edgex_kit.wire.messages import SystemEvent, new_id

from device_camera.config import CameraService
from device_camera.protocols import PROTOCOL
from device_camera.v4l2.usb import UsbCamera
from device_camera.watching import watcher_for

log = logging.getLogger(__name__)

Find = Callable[[], list[UsbCamera]]


class Discovery:
    """Looks for cameras; `find` blocks."""

    def __init__(self, service: Service[CameraService], devices: Devices, find: Find) -> None:
        self._service = service
        self._devices = devices
        self._find = find
        self._wanted: asyncio.Queue[str] = asyncio.Queue(1)
        self._running: tuple[str, asyncio.Task[None]] | None = None

    def trigger(self, request_id: str) -> None:
        """Look once, soon. While a run goes on, another one is not begun. Raises Locked, Unavailable."""
        if self._devices.is_locked:
            raise Locked("service locked")
        if not self._service.settings.device.discovery.enabled:
            raise Unavailable("device discovery disabled")
        with contextlib.suppress(asyncio.QueueFull):
            if self._running is None:
                self._wanted.put_nowait(request_id)

    def stop(self, request_id: str = "") -> None:
        """End the run that goes on, if any. Raises NotFound when it has another id."""
        if self._running is None:
            return
        running, task = self._running
        if request_id not in ("", running):
            raise NotFound(f"discovery {request_id} is not running")
        task.cancel()

    async def run(self) -> None:
        """Look whenever it is wanted, and every interval when there is one, for ever."""
        settings = self._service.settings.device.discovery
        interval = settings.interval_s if settings.enabled and settings.interval_s > 0 else None
        request_id = new_id() if interval else ""
        while True:
            if request_id and not self._devices.is_locked:
                await self._look_once(request_id)
            try:
                async with asyncio.timeout(interval):
                    request_id = await self._wanted.get()
            except TimeoutError:
                request_id = new_id()

    async def _look_once(self, request_id: str) -> None:
        task = asyncio.create_task(self._look(request_id), name="discovery")
        self._running = request_id, task
        try:
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        finally:
            task.cancel()
            self._running = None

    async def _look(self, request_id: str) -> None:
        self._tell(request_id, 0)
        try:
            found = await asyncio.to_thread(self._find)
            for camera in found:
                await self._take_in(camera)
        except asyncio.CancelledError:
            self._tell(request_id, -1, message="stopped")
            raise
        except (EdgexError, OSError) as error:
            log.warning("discovery failed: %s", error)
            self._tell(request_id, -1, message=str(error))
            return
        log.info("discovery found %d cameras", len(found))
        self._tell(request_id, 100, discoveredDeviceCount=len(found))

    async def _take_in(self, camera: UsbCamera) -> None:
        known = self._known(camera)
        if known is not None:
            await self._follow(known, camera)
            return
        watcher = watcher_for(camera.protocols, self._devices.watchers)
        if watcher is None:
            log.info("camera '%s' at %s: no provision watcher wants it", camera.name, camera.node)
            return
        wanted = watcher.discovered_device
        device = Device(
            name=camera.name,
            description=camera.card,
            labels=watcher.labels,
            service_name=self._service.name,
            profile_name=wanted.profile_name,
            admin_state=wanted.admin_state,
            operating_state="UP",
            auto_events=wanted.auto_events,
            protocols=camera.protocols,
            properties=wanted.properties,
        )
        log.info("camera '%s' at %s is taken in by watcher '%s'", camera.name, camera.node, watcher.name)
        await self._service.metadata.add_devices([device])

    def _known(self, camera: UsbCamera) -> Device | None:
        """The device of this camera: by its serial, else by where it is plugged in, else by its node."""
        for key, value in (("SerialNumber", camera.serial), ("Port", camera.port)):
            for device in self._devices.all():
                properties = device.protocols.get(PROTOCOL, {})
                if value and properties.get(key) == value and not _is_other(properties, camera):
                    return device
        sources = _sources(camera)
        return next((it for it in self._devices.all() if it.name == camera.name or _source(it) in sources), None)

    async def _follow(self, device: Device, camera: UsbCamera) -> None:
        """The device goes where its camera has gone. One without an identity was added by hand and is left alone."""
        properties = device.protocols.get(PROTOCOL, {})
        source = camera.protocols[PROTOCOL]["Source"]
        if "Port" not in properties or (properties["Port"], _source(device)) == (camera.port, source):
            return
        log.info("device '%s' has moved from %s to %s", device.name, properties["Port"], camera.port)
        protocols = {**device.protocols, PROTOCOL: {**properties, **camera.protocols[PROTOCOL]}}
        await self._service.metadata.patch_device(device.name, protocols=protocols)

    def _tell(self, request_id: str, progress: int, **more: Any) -> None:
        """-1 is an error (contract 6.8)."""
        own = self._service.name
        event = SystemEvent(
            type="device",
            action="discovery",
            source=own,
            owner=own,
            details={"requestId": request_id, "progress": progress, **more},
            timestamp=new_origin(),
        )
        topic = self._service.topics.system_event(own, "device", "discovery", own)
        self._service.bus.publish(topic, codec.encode(event, encoding=self._service.encoding))


def _is_other(properties: Any, camera: UsbCamera) -> bool:
    """Whether a device at the same port is another camera: both have serials, and they differ."""
    serial = properties.get("SerialNumber", "")
    return bool(serial and camera.serial and serial != camera.serial)


def _source(device: Device) -> str:
    return str(device.protocols.get(PROTOCOL, {}).get("Source", ""))


def _sources(camera: UsbCamera) -> tuple[str, ...]:
    return (f"v4l2:{camera.node}", camera.node, f"v4l2:{camera.stable_node}", camera.stable_node)
