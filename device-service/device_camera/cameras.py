"""A camera for every device: opened, changed and closed as the devices change.

Each camera has a task of its own that publishes its frames and closes it in the end; when a device comes back before
its old camera is closed, the new one waits for that. A locked device keeps its camera, which rests, so that its
counters and its `seq` go on.
"""

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from edgex_kit.device.cache import Devices
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import DriverFailed, EdgexError

from device_camera.capture.camera import Camera
from device_camera.capture.state import State, Status
from device_camera.settings import CameraSettings, unknown_keys

log = logging.getLogger(__name__)

LOCKED = "locked"  # why the camera of a locked device does not stream

SettingsFor = Callable[[Device], CameraSettings]
Publish = Callable[[Camera], Awaitable[None]]
Listener = Callable[[str, Status], None]


@dataclass(slots=True)
class _Entry:
    """One device's camera and the settings that its device requested last."""

    camera: Camera
    settings: CameraSettings
    is_active: bool
    begun: asyncio.Event
    task: "asyncio.Task[None]"

    def follow(self, settings: CameraSettings, *, is_active: bool) -> None:
        """Streaming starts and stops only where the device changes; what a command has started goes on otherwise."""
        began = self.settings.auto_streaming and self.is_active
        begins = settings.auto_streaming and is_active
        if settings != self.settings:
            self.camera.change(settings)
        if begins and not began:
            self.camera.start_streaming()
        elif self.is_active and not is_active:
            self.camera.stop_streaming(LOCKED)
        elif began and not begins:
            self.camera.stop_streaming()
        self.settings, self.is_active = settings, is_active


class Cameras:
    """The cameras of all devices; made by `open_cameras`."""

    def __init__(
        self, devices: Devices, settings_for: SettingsFor, publish: Publish, listeners: Sequence[Listener]
    ) -> None:
        self._devices = devices
        self._settings_for = settings_for
        self._publish = publish
        self._listeners = listeners
        self._entries: dict[str, _Entry] = {}
        self._problems: dict[str, str] = {}  # why a device has no camera
        self._unknown: dict[str, dict[str, str]] = {}  # keys of a device that mean nothing, as they were logged
        self._tasks: set[asyncio.Task[None]] = set()
        # One camera of a name at a time: the next one waits here until the source is closed.
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def get(self, name: str) -> Camera:
        """The camera of a device. Raises DriverFailed with the reason when it has none."""
        entry = self._entries.get(name)
        if entry is None:
            raise DriverFailed(f"device '{name}' has no camera: {self._problems.get(name, 'it is being opened')}")
        return entry.camera

    async def ready(self, name: str) -> Camera:
        """The same, once its thread runs: it may have to wait until the one before it is closed."""
        camera = self.get(name)
        await self._entries[name].begun.wait()
        return camera

    def all(self) -> tuple[Camera, ...]:
        return tuple(entry.camera for entry in self._entries.values())

    def reconcile(self, name: str) -> None:
        """Bring the camera of a device in line with the device."""
        settings = self._settings_of(name) if self._devices.has(name) else None
        if settings is None:
            self._stop(name)
        elif entry := self._entries.get(name):
            entry.follow(settings, is_active=self._devices.is_active(name))
        else:
            self._start(name, settings)

    def reconcile_all(self) -> None:
        """The same for every device: defaults or secrets have changed."""
        for device in self._devices.all():
            self.reconcile(device.name)

    async def close(self) -> None:
        """Close every camera."""
        for name in list(self._entries):
            self._stop(name)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _settings_of(self, name: str) -> CameraSettings | None:
        """The settings that the device requests, or None and the reason in `_problems`."""
        self._warn_of_unknown_keys(self._devices.get(name))
        try:
            settings = self._settings_for(self._devices.get(name))
        except EdgexError as error:
            if self._problems.get(name) != str(error):
                self._problems[name] = str(error)
                log.warning("device '%s' has no camera: %s", name, error)
                self._notify(name, Status(State.LOST, str(error), time.time_ns()))
            return None
        self._problems.pop(name, None)
        return settings

    def _warn_of_unknown_keys(self, device: Device) -> None:
        unknown = unknown_keys(device)
        for key, nearest in unknown.items():
            if key not in self._unknown.get(device.name, {}):
                hint = f"; is {nearest} meant?" if nearest else ""
                log.warning("device '%s': protocols.Camera.%s is not known%s", device.name, key[:80], hint)
        self._unknown[device.name] = unknown

    def _notify(self, name: str, status: Status) -> None:
        for listener in self._listeners:
            listener(name, status)

    def _start(self, name: str, settings: CameraSettings) -> None:
        camera, loop = Camera(name, settings), asyncio.get_running_loop()

        def notify(status: Status) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._notify, name, status)

        camera.listen(notify)
        is_active = self._devices.is_active(name)
        if settings.auto_streaming and is_active:
            camera.start_streaming()
        lock, begun = self._locks.setdefault(name, asyncio.Lock()), asyncio.Event()
        task = asyncio.create_task(self._run(camera, lock, begun), name=f"camera:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._entries[name] = _Entry(camera, settings, is_active, begun, task)

    def _stop(self, name: str) -> None:
        if entry := self._entries.pop(name, None):
            entry.task.cancel()
            entry.begun.set()  # a command that waits for it ends with "closed"
        if not self._devices.has(name):
            self._problems.pop(name, None)
            self._unknown.pop(name, None)

    async def _run(self, camera: Camera, lock: asyncio.Lock, begun: asyncio.Event) -> None:
        async with lock, _opened(camera):
            begun.set()
            while True:
                try:
                    await self._publish(camera)
                except Exception:  # this camera's frames go on with the next one
                    log.exception("publishing frames of '%s' failed", camera.name)
                    await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def open_cameras(
    devices: Devices, settings_for: SettingsFor, publish: Publish, listeners: Sequence[Listener]
) -> AsyncIterator[Cameras]:
    """Cameras that follow `devices` for the length of the block; all closed at its end.

    `publish` runs for each camera until it is closed; `listeners` are called in the event loop with each new status.
    """
    cameras = Cameras(devices, settings_for, publish, listeners)
    devices.on_change(cameras.reconcile)
    try:
        yield cameras
    finally:
        await cameras.close()


@contextlib.asynccontextmanager
async def _opened(camera: Camera) -> AsyncIterator[None]:
    with contextlib.ExitStack() as opened:
        opened.enter_context(camera)
        try:
            yield
        finally:
            await asyncio.to_thread(opened.close)
