"""A camera for every device: opened, changed and closed as the devices change.

The devices say what should be, `reconcile` makes it so. Each camera has a task of its own that publishes its frames and
closes it in the end; when a device comes back before its old camera has let go, the new one waits for it. A locked
device keeps its camera, which rests, so that its counters and its `seq` go on.
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
from device_camera.capture.needed_size import with_needs
from device_camera.capture.state import State, Status
from device_camera.protocols import Asked

log = logging.getLogger(__name__)

LOCKED = "locked"  # why the camera of a locked device does not stream

Ask = Callable[[Device], Asked]
Publish = Callable[[Camera], Awaitable[None]]
Tell = Callable[[str, Status], None]


@dataclass(slots=True)
class _Held:
    """One device's camera and what was asked of it last."""

    camera: Camera
    asked: Asked
    is_active: bool
    begun: asyncio.Event
    task: "asyncio.Task[None]"

    def follow(self, asked: Asked, *, is_active: bool) -> None:
        """Streaming begins and ends only where what is asked changes; what a command has begun goes on otherwise."""
        began = self.asked.auto_streaming and self.is_active
        begins = asked.auto_streaming and is_active
        if asked.settings != self.asked.settings:
            self.camera.change(with_needs(self.camera, asked.settings))
        if begins and not began:
            self.camera.start_streaming()
        elif self.is_active and not is_active:
            self.camera.stop_streaming(LOCKED)
        elif began and not begins:
            self.camera.stop_streaming()
        self.asked, self.is_active = asked, is_active


class Cameras:
    """The cameras of all devices; made by `open_cameras`."""

    def __init__(self, devices: Devices, ask: Ask, publish: Publish, tell: Sequence[Tell]) -> None:
        self._devices = devices
        self._ask = ask
        self._publish = publish
        self._tell = tell
        self._held: dict[str, _Held] = {}
        self._problems: dict[str, str] = {}  # why a device has no camera
        self._tasks: set[asyncio.Task[None]] = set()
        # One camera of a name at a time: the next one waits here until the source was let go.
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def get(self, name: str) -> Camera:
        """The camera of a device. Raises DriverFailed with the reason when it has none."""
        held = self._held.get(name)
        if held is None:
            raise DriverFailed(f"device '{name}' has no camera: {self._problems.get(name, 'it is being opened')}")
        return held.camera

    async def ready(self, name: str) -> Camera:
        """The same, once its thread runs: it may have to wait until the one before it has let go."""
        camera = self.get(name)
        await self._held[name].begun.wait()
        return camera

    def all(self) -> tuple[Camera, ...]:
        return tuple(held.camera for held in self._held.values())

    def reconcile(self, name: str) -> None:
        """Bring the camera of a device in line with the device."""
        asked = self._asked(name) if self._devices.has(name) else None
        held = self._held.get(name)
        if asked is None:
            self._stop(name)
        elif held is None:
            self._start(name, asked)
        else:
            held.follow(asked, is_active=self._devices.is_active(name))

    def reconcile_all(self) -> None:
        """The same for every device: defaults or secrets have changed."""
        for device in self._devices.all():
            self.reconcile(device.name)

    async def close(self) -> None:
        """Close every camera."""
        for name in list(self._held):
            self._stop(name)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _asked(self, name: str) -> Asked | None:
        """What the device wants, or None and the reason in `_problems`."""
        try:
            asked = self._ask(self._devices.get(name))
        except EdgexError as error:
            if self._problems.get(name) != str(error):
                self._problems[name] = str(error)
                log.warning("device '%s' has no camera: %s", name, error)
                self._tell_all(name, Status(State.LOST, str(error), time.time_ns()))
            return None
        self._problems.pop(name, None)
        return asked

    def _tell_all(self, name: str, status: Status) -> None:
        for tell in self._tell:
            tell(name, status)

    def _start(self, name: str, asked: Asked) -> None:
        camera = Camera(name, asked.settings)
        loop = asyncio.get_running_loop()
        camera.listen(lambda status: _cross(loop, self._tell_all, name, status))
        is_active = self._devices.is_active(name)
        if asked.auto_streaming and is_active:
            camera.start_streaming()
        turn, begun = self._turns.setdefault(name, asyncio.Lock()), asyncio.Event()
        task = asyncio.create_task(self._run(camera, turn, begun), name=f"camera:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._held[name] = _Held(camera, asked, is_active, begun, task)

    def _stop(self, name: str) -> None:
        if held := self._held.pop(name, None):
            held.task.cancel()
            held.begun.set()  # who waits for it is told that it is closed
        if not self._devices.has(name):
            self._problems.pop(name, None)

    async def _run(self, camera: Camera, turn: asyncio.Lock, begun: asyncio.Event) -> None:
        async with turn, _opened(camera):
            begun.set()
            while True:
                try:
                    await self._publish(camera)
                except Exception:  # this camera's frames go on with the next one
                    log.exception("publishing frames of '%s' failed", camera.name)
                    await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def open_cameras(devices: Devices, ask: Ask, publish: Publish, tell: Sequence[Tell]) -> AsyncIterator[Cameras]:
    """Cameras that follow `devices` for the length of the block; all closed at its end."""
    cameras = Cameras(devices, ask, publish, tell)
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


def _cross(loop: asyncio.AbstractEventLoop, tell: Tell, name: str, status: Status) -> None:
    """From the camera's thread to the loop; one that has ended has nobody left to tell."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell, name, status)
