"""Discovery: cameras attached to this machine become devices where a provision watcher matches them.

One run at a time, on request or every Device.Discovery.Interval. The device of a camera that has moved to another node
is updated. Progress is published as EdgeX's system event device/discovery.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgex_kit.device.cache import Devices
from edgex_kit.service.clock import new_origin
from edgex_kit.service.rest import Json, name_of
from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, ProvisionWatcher
from edgex_kit.wire.errors import EdgexError, Locked, NotFound, Unavailable, Unsupported
from edgex_kit.wire.messages import API, BaseResponse, SystemEvent, new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from device_camera.config import CameraService
from device_camera.settings import PROTOCOL
from device_camera.v4l2.usb import UsbCamera

log = logging.getLogger(__name__)

Find = Callable[[], list[UsbCamera]]
Protocols = Mapping[str, Mapping[str, Any]]

_CORRELATION = "x-correlation-id"


class Discovery:
    """Adds the cameras that `find` returns; `find` blocks."""

    def __init__(self, service: Service[CameraService], devices: Devices, find: Find) -> None:
        self._service = service
        self._devices = devices
        self._find = find
        self._requests: asyncio.Queue[str] = asyncio.Queue(1)
        self._running: tuple[str, asyncio.Task[None]] | None = None

    def trigger(self, request_id: str) -> None:
        """Start a run soon, unless one is running. Raises Locked, Unavailable."""
        if self._devices.is_locked:
            raise Locked("service locked")
        if not self._service.settings.device.discovery.enabled:
            raise Unavailable("device discovery disabled")
        with contextlib.suppress(asyncio.QueueFull):
            if self._running is None:
                self._requests.put_nowait(request_id)

    def stop(self, request_id: str = "") -> None:
        """Cancel the run, if any. Raises NotFound when it has another id."""
        if self._running is None:
            return
        running, task = self._running
        if request_id not in ("", running):
            raise NotFound(f"discovery {request_id} is not running")
        task.cancel()

    async def run(self) -> None:
        """Run on request, and every interval when there is one, for ever."""
        settings = self._service.settings.device.discovery
        interval = settings.interval_s if settings.enabled and settings.interval_s > 0 else None
        request_id = new_id() if interval else ""
        while True:
            if request_id and not self._devices.is_locked:
                await self._run_once(request_id)
            try:
                async with asyncio.timeout(interval):
                    request_id = await self._requests.get()
            except TimeoutError:
                request_id = new_id()

    async def _run_once(self, request_id: str) -> None:
        task = asyncio.create_task(self._discover(request_id), name="discovery")
        self._running = request_id, task
        try:
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        finally:
            task.cancel()
            self._running = None

    async def _discover(self, request_id: str) -> None:
        self._report(request_id, 0)
        try:
            found = await asyncio.to_thread(self._find)
            for camera in found:
                await self._add(camera)
        except asyncio.CancelledError:
            self._report(request_id, -1, message="stopped")
            raise
        except (EdgexError, OSError) as error:
            log.warning("discovery failed: %s", error)
            self._report(request_id, -1, message=str(error))
            return
        log.info("discovery found %d cameras", len(found))
        self._report(request_id, 100, discoveredDeviceCount=len(found))

    async def _add(self, camera: UsbCamera) -> None:
        known = self._known(camera)
        if known is not None:
            await self._update(known, camera)
            return
        watcher = watcher_for(camera.protocols, self._devices.watchers)
        if watcher is None:
            log.info("camera '%s' at %s: no provision watcher matches it", camera.name, camera.node)
            return
        template = watcher.discovered_device
        device = Device(
            name=camera.name,
            description=camera.card,
            labels=watcher.labels,
            service_name=self._service.name,
            profile_name=template.profile_name,
            admin_state=template.admin_state,
            operating_state="UP",
            auto_events=template.auto_events,
            protocols=camera.protocols,
            properties=template.properties,
        )
        log.info("camera '%s' at %s is added by watcher '%s'", camera.name, camera.node, watcher.name)
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

    async def _update(self, device: Device, camera: UsbCamera) -> None:
        """Update the device of a camera that has moved; one without a Port was added by hand and stays as it is."""
        properties = device.protocols.get(PROTOCOL, {})
        source = camera.protocols[PROTOCOL]["Source"]
        if "Port" not in properties or (properties["Port"], _source(device)) == (camera.port, source):
            return
        log.info("device '%s' has moved from %s to %s", device.name, properties["Port"], camera.port)
        protocols = {**device.protocols, PROTOCOL: {**properties, **camera.protocols[PROTOCOL]}}
        await self._service.metadata.patch_device(device.name, protocols=protocols)

    def _report(self, request_id: str, progress: int, **more: Any) -> None:
        """Publish the progress in percent; -1 is an error."""
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


def watcher_for(protocols: Protocols, watchers: Sequence[ProvisionWatcher]) -> ProvisionWatcher | None:
    """The first UNLOCKED watcher that allows these protocols and does not block them."""
    for watcher in watchers:
        if watcher.admin_state == "UNLOCKED" and _allows(watcher, protocols) and not _blocks(watcher, protocols):
            return watcher
    return None


def _allows(watcher: ProvisionWatcher, protocols: Protocols) -> bool:
    """All identifiers are found, as parts of values, within the properties of one protocol."""
    return any(
        all(_found(pattern, properties.get(key)) for key, pattern in watcher.identifiers.items())
        for properties in protocols.values()
    )


def _blocks(watcher: ProvisionWatcher, protocols: Protocols) -> bool:
    """Any blocking value is there, exactly, in any protocol."""
    return any(
        str(properties.get(key, "")) in blocked
        for properties in protocols.values()
        for key, blocked in (watcher.blocking_identifiers or {}).items()
        if key in properties
    )


def _found(pattern: str, value: Any) -> bool:
    if value is None or str(value) == "":
        return False
    try:
        return re.search(pattern, str(value)) is not None
    except re.error:  # an invalid pattern matches nothing
        return False


def discovery_routes(discovery: Discovery) -> list[BaseRoute]:
    """EdgeX's routes for discovery; profiles are not scanned, because every camera has the same."""

    async def trigger(request: Request) -> Response:
        request_id = request.headers.get(_CORRELATION) or new_id()
        discovery.trigger(request_id)
        return _accepted(request_id, "Device Discovery is triggered.", 202)

    async def stop(request: Request) -> Response:
        request_id = name_of(request, "id") if "id" in request.path_params else ""
        discovery.stop(request_id)
        return _accepted(request_id, "", 200)

    async def scan(_request: Request) -> Response:
        raise Unsupported("Profile scan is not implemented")

    return [
        Route("/api/v3/discovery", trigger, methods=["POST"]),
        Route("/api/v3/discovery", stop, methods=["DELETE"]),
        Route("/api/v3/discovery/requestId/{id}", stop, methods=["DELETE"]),
        Route("/api/v3/profilescan", scan, methods=["POST"]),
        Route("/api/v3/profilescan/device/name/{name}", scan, methods=["DELETE"]),
    ]


def _accepted(request_id: str, message: str, status: int) -> Response:
    answer = BaseResponse(api_version=API, request_id=request_id, message=message, status_code=status)
    return Json(answer, status)
