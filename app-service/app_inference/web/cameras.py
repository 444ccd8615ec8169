"""The cameras that core-metadata has, and why their device services get no frames from them.

The list is read again when a device changes, and every REFRESH seconds. While core-metadata does not answer, it stays
as it was.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Set
from typing import Any

import msgspec
from edgex_kit.clients.http import HttpClient
from edgex_kit.service.service import Service
from edgex_kit.supervision import keep
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_kit.wire.errors import EdgexError, NotFound
from edgex_kit.wire.topics import escape_name

from app_inference.settings import AppSettings

REFRESH = 5.0  # seconds; also between two questions to the service of a camera without frames
SETTLE = 0.3  # seconds: a device service adds its cameras one by one
ANSWER = 3.0  # seconds for an answer of a device service
AT_ONCE = 8  # questions
FRAME, STATUS = "Frame", "StreamingStatus"  # resources of a camera's profile


class KnownCamera(msgspec.Struct, frozen=True):
    """A camera device."""

    service: str
    admin_state: str
    operating_state: str
    stream: str = ""  # the state that its service reports, lower case; empty if it reports none
    reason: str = ""  # why it sends no frames

    @property
    def is_off(self) -> bool:
        """Whether it sends no frames because somebody wants it so."""
        return self.admin_state == "LOCKED" or self.stream in ("off", "stopped")


class KnownCameras:
    """Follows core-metadata; `live` returns the cameras that send frames, whose services need not be asked."""

    def __init__(self, service: Service[AppSettings], live: Callable[[], Collection[str]]) -> None:
        self._service = service
        self._live = live
        self._known: dict[str, KnownCamera] = {}
        self._profiles: dict[str, bool] = {}  # name -> whether its devices are cameras
        self._changed = asyncio.Event()

    def all(self) -> dict[str, KnownCamera]:
        """By name of the device."""
        return self._known

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            keep(tasks, {"changes of cameras": self._listen, "known cameras": self._refresh})

    async def _listen(self) -> None:
        service = self._service
        async with service.bus.messages(service.topics.device_changes()) as messages:
            async for _ in messages:
                self._changed.set()

    async def _refresh(self) -> None:
        while True:
            self._changed.clear()
            with contextlib.suppress(EdgexError):  # other parts of the service report that it does not answer
                await self._read()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REFRESH)
                await asyncio.sleep(SETTLE)

    async def _read(self) -> None:
        devices = [it for it in await self._service.metadata.devices() if await self._is_camera(it.profile_name)]
        live, limit = self._live(), asyncio.Semaphore(AT_ONCE)
        addresses = {it.service_name: await self._address(it.service_name) for it in devices if it.name not in live}

        async def known(device: Device) -> KnownCamera:
            camera = KnownCamera(device.service_name, device.admin_state, device.operating_state)
            if device.name in live or device.is_locked:
                return camera
            async with limit:
                return await self._asked(camera, device.name, addresses[device.service_name])

        found = await asyncio.gather(*(known(it) for it in devices))
        self._count({it.name for it in devices}, live)
        self._known = {device.name: camera for device, camera in zip(devices, found, strict=True)}

    def _count(self, names: Set[str], live: Collection[str]) -> None:
        """The gauge CameraUp of every camera: 1 while it sends frames."""
        metrics = self._service.metrics
        metrics.forget(camera=self._known.keys() - names)
        for name in names:
            metrics.gauge("CameraUp", camera=name).set(int(name in live))

    async def _is_camera(self, profile: str) -> bool:
        """Whether the profile has a resource for frames."""
        if profile not in self._profiles:
            try:
                self._profiles[profile] = is_camera(await self._service.metadata.profile(profile))
            except NotFound:
                return False
        return self._profiles[profile]

    async def _address(self, service: str) -> str:
        with contextlib.suppress(EdgexError):
            record = await self._service.metadata.service(service)
            return record.base_address if record else ""
        return ""

    async def _asked(self, camera: KnownCamera, name: str, address: str) -> KnownCamera:
        """With what its device service says of it. A refusal (EdgeX: 423 for a device that is DOWN) is a reason too."""
        if not address:
            return msgspec.structs.replace(camera, reason=f"device service '{camera.service}' is not in core-metadata")
        stored = self._service.stored_secrets
        identify = stored.store.identity if stored else dict
        client = HttpClient(address, name=camera.service, wait=ANSWER, identify=identify)
        try:
            answer = await client.call("GET", f"/api/v3/device/name/{escape_name(name)}/{STATUS}")
            status = answer["event"]["readings"][0]["objectValue"]
            return msgspec.structs.replace(camera, stream=str(status["State"]).lower(), reason=str(status["Error"]))
        except NotFound:
            return camera
        except EdgexError as error:
            return msgspec.structs.replace(camera, reason=reason_from(str(error)))
        except (LookupError, TypeError):  # a camera of another kind
            return camera
        finally:
            client.close()


def is_camera(profile: DeviceProfile) -> bool:
    """Whether devices of the profile are cameras: one of its resources holds frames."""

    def function(attributes: dict[str, Any] | None) -> Any:
        return (attributes or {}).get("getFunction")

    resources = profile.device_resources or ()
    return any(it.properties.value_type == "Binary" and FRAME in (it.name, function(it.attributes)) for it in resources)


def reason_from(refusal: str) -> str:
    """The reason in the refusal of a command: `device gate OperatingState is DOWN: no route to host`."""
    return refusal.partition(" is DOWN: ")[2] or refusal
