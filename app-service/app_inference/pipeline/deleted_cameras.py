"""Cameras that core-metadata has deleted leave the page, the status and the metrics; silent ones that exist stay.

An announced deletion takes effect after GRACE seconds: frames of the camera may still be under way, or it is added
again. Announcements get lost while the broker is disconnected, so a camera that is silent for SILENCE seconds is looked
up, and dropped if core-metadata does not know it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Set
from functools import partial

from edgex_kit.device.bus_api import Refusals
from edgex_kit.service.service import Service
from edgex_kit.supervision import keep
from edgex_kit.wire import codec
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError, Malformed, NotFound
from edgex_kit.wire.messages import SystemEvent

from app_inference.pipeline.live_view import LiveView
from app_inference.settings import AppSettings

GRACE = 2.0  # seconds
SILENCE = 30.0  # seconds; also between two look-ups
ADDED, DELETED = "add", "delete"  # actions of core-metadata


async def follow_deletions(
    service: Service[AppSettings], view: LiveView, forget_cameras: Callable[[Set[str]], object]
) -> None:
    """Drop deleted cameras, for ever."""

    def forget(camera: str) -> None:
        forget_cameras({camera})

    pending = PendingDeletions(forget)  # outlives a failure of the task: a camera that is added again cancels its own
    follow, look_up = partial(_follow_changes, service, pending), partial(_look_up_silent, service, view, forget)
    async with asyncio.TaskGroup() as tasks:
        keep(tasks, {"deleted cameras": follow, "silent cameras": look_up})


class PendingDeletions:
    """Cameras that were deleted, until GRACE is over; one that is added again meanwhile stays as it was."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        self._forget = forget
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def follow(self, change: SystemEvent) -> None:
        """Follow one change of a device; raises Malformed."""
        if change.action not in (ADDED, DELETED):
            return
        camera = convert(change.details, Device).name
        if timer := self._timers.pop(camera, None):
            timer.cancel()
        if change.action == DELETED:
            self._timers[camera] = asyncio.get_running_loop().call_later(GRACE, self._delete, camera)

    def _delete(self, camera: str) -> None:
        del self._timers[camera]
        self._forget(camera)


async def _follow_changes(service: Service[AppSettings], pending: PendingDeletions) -> None:
    """Follow what core-metadata announces."""
    refusals = Refusals(service.metrics, "device changes")
    async with service.bus.messages(service.topics.device_changes()) as messages:
        async for message in messages:
            try:
                pending.follow(codec.payload_as(codec.decode_envelope(message.data), SystemEvent))
            except Malformed as error:
                refusals.note(message, error)


async def _look_up_silent(service: Service[AppSettings], view: LiveView, forget: Callable[[str], None]) -> None:
    """Look silent cameras up, again and again: one that is silent now may be deleted later."""
    while True:
        await asyncio.sleep(SILENCE)
        with contextlib.suppress(EdgexError):  # without core-metadata nothing is known; others log that it is away
            for camera in view.silent(SILENCE):
                try:
                    await service.metadata.device(camera)
                except NotFound:
                    forget(camera)
