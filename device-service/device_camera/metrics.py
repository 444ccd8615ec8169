"""The cameras' counters as metrics, and how many pictures a second each of them really takes.

FramesCaptured, FramesPublished, FramesDropped and CameraUp (1 while frames come) carry the device, and dropped ones the
reason.
"""

import asyncio
import time

from edgex_kit.device.cache import Devices
from edgex_kit.service.metrics import Metrics

from device_camera.cameras import Cameras
from device_camera.capture.camera import Camera
from device_camera.capture.state import State

_EVERY = 1.0  # seconds
_WINDOW = 5  # samples that a rate is the mean of


class Meters:
    """Samples every camera once a second."""

    def __init__(self, devices: Devices, cameras: Cameras, metrics: Metrics) -> None:
        self._devices = devices
        self._cameras = cameras
        self._metrics = metrics
        self._samples: dict[Camera, list[tuple[int, float]]] = {}  # (captured, seconds)
        devices.on_change(self._follow)

    def capture_fps(self, camera: Camera) -> float:
        """Pictures taken a second over the last few seconds."""
        samples = self._samples.get(camera, [])
        if len(samples) < 2:
            return 0.0
        (before, begin), (after, end) = samples[0], samples[-1]
        return round((after - before) / (end - begin), 2)

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            now = time.monotonic()
            cameras = self._cameras.all()
            now_by_camera = {it: (it.counters.captured, now) for it in cameras}
            self._samples = {it: [*self._samples.get(it, [])[-_WINDOW:], new] for it, new in now_by_camera.items()}
            for camera in cameras:
                self._count(camera)
                camera.watch()
            await asyncio.sleep(_EVERY)

    def _follow(self, name: str) -> None:
        """A device has all its metrics from its addition to its removal; LastConnected 0 means never."""
        if self._devices.has(name):
            self._metrics.gauge("LastConnected", device=name)
        else:
            self._metrics.forget(device=name)

    def _count(self, camera: Camera) -> None:
        counters, counter = camera.counters, self._metrics.counter
        self._metrics.gauge("CameraUp", device=camera.name).set(camera.status.state is State.STREAMING)
        counter("FramesCaptured", device=camera.name).value = counters.captured
        counter("FramesPublished", device=camera.name).value = counters.published
        for reason, dropped in counters.dropped.items():
            counter("FramesDropped", device=camera.name, reason=reason).value = dropped
