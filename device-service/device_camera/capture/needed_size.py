"""Picture needs of cameras with `Size: auto`: pictures become as small as those who look at them allow, and grow again.

Whoever looks writes the size it needs to the resource PictureNeeds, again and again. Nobody asks: the camera's own one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgex_kit.wire.errors import DriverFailed, Invalid

from device_camera import tuning
from device_camera.capture.camera import Camera
from device_camera.settings import CameraSettings
from device_camera.sources.factory import Kind

_LOOK_EVERY = 1.0  # seconds; a lease may last so much longer
_LEFT_ALONE = "gives JPEGs that pass through as they are: making them smaller costs more than it spares"


def ask(camera: Camera, sizes: Mapping[str, Any], seconds: float) -> None:
    """Note who needs what for so long, and follow it. Raises Invalid, and DriverFailed for a camera that cannot."""
    if not camera.settings.encoding.follows:
        raise Invalid("its size is not auto, so others cannot choose it; set FrameSize to auto first")
    if _passes_through(camera):
        raise DriverFailed(f"{camera.settings.source} {_LEFT_ALONE}")
    camera.needs.ask(sizes, time.monotonic(), seconds)
    _follow(camera)


def note_on(camera: Camera) -> str:
    """For people: what `auto` comes to; empty for a camera whose size is set."""
    if not camera.settings.encoding.follows:
        return ""
    if _passes_through(camera):
        return _LEFT_ALONE
    needs = camera.needs.in_force(time.monotonic())
    return ", ".join(f"{size} for {who}" for who, size in needs.items()) or "its own: nobody asks for less"


async def run(cameras: Callable[[], Iterable[Camera]]) -> None:
    """Notice leases that have ended, for ever."""
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        for camera in cameras():
            _follow(camera)


def with_needs(camera: Camera, settings: CameraSettings) -> CameraSettings:
    """`settings` with what is needed of this camera now, where they leave that to others."""
    needed = camera.needs.size(time.monotonic()) if settings.encoding.follows else None
    return settings if needed == settings.encoding.needed else tuning.with_need(settings, needed)


def _follow(camera: Camera) -> None:
    settings = with_needs(camera, camera.settings)
    if settings is not camera.settings:
        camera.change(settings)


def _passes_through(camera: Camera) -> bool:
    """Whether its frames are the camera's own JPEGs, and it has no other modes."""
    facts = camera.facts
    if facts is None or not facts.is_jpeg or facts.full_size:
        return False
    return facts.follows or camera.settings.source.kind is not Kind.V4L2  # which looks for modes only if it follows
