"""Cameras that core-metadata has deleted leave the page, the status and the metrics; silent ones that exist stay there.

A deletion that is announced counts after GRACE seconds: frames of the camera may still be under way, or it is added
again. Announcements get lost while the broker is away, so that whoever is silent for SILENCE seconds is asked for, and
goes if it is not known.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from edgex_kit.device.bus_api import Refusals
from edgex_kit.service.service import Service
from edgex_kit.supervision import keep
from edgex_kit.wire import codec
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError, Malformed, NotFound
from edgex_kit.wire.messages import SystemEvent

from app_inference.pipeline.counters import FrameCounters
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan
from app_inference.settings import AppSettings

GRACE = 2.0  # seconds
SILENCE = 30.0  # seconds; also between two times of asking
ADDED, DELETED = "add", "delete"  # actions of core-metadata


async def follow_deletions(
    service: Service[AppSettings], view: LiveView, tally: FrameCounters, plan: Callable[[], Plan]
) -> None:
    """Let deleted cameras go, for ever."""

    def forget(camera: str) -> None:
        for place in (view, tally, plan()):
            place.forget({camera})

    farewells = PendingDeletions(forget)  # outlives a failure of those who use it: whoever comes back cancels its own
    hear, ask = partial(_hear, service, farewells), partial(_ask, service, view, forget)
    async with asyncio.TaskGroup() as tasks:
        keep(tasks, {"deleted cameras": hear, "silent cameras": ask})


class PendingDeletions:
    """Cameras that were deleted, until their grace is over; one that comes back meanwhile stays as it was."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        self._forget = forget
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    def heed(self, change: SystemEvent) -> None:
        """Follow one change of a device; raises Malformed."""
        if change.action not in (ADDED, DELETED):
            return
        camera = convert(change.details, Device).name
        if leaving := self._leaving.pop(camera, None):
            leaving.cancel()
        if change.action == DELETED:
            self._leaving[camera] = asyncio.get_running_loop().call_later(GRACE, self._leave, camera)

    def _leave(self, camera: str) -> None:
        del self._leaving[camera]
        self._forget(camera)


async def _hear(service: Service[AppSettings], farewells: PendingDeletions) -> None:
    """Follow what core-metadata announces."""
    refusals = Refusals(service.metrics, "device changes")
    async with service.bus.messages(service.topics.device_changes()) as messages:
        async for message in messages:
            try:
                farewells.heed(codec.payload_as(codec.decode_envelope(message.data), SystemEvent))
            except Malformed as error:
                refusals.note(message, error)


async def _ask(service: Service[AppSettings], view: LiveView, forget: Callable[[str], None]) -> None:
    """Look silent cameras up, again and again: one that is stale now may be deleted later."""
    while True:
        await asyncio.sleep(SILENCE)
        with contextlib.suppress(EdgexError):  # without core-metadata nobody knows, and others say that it is away
            for camera in view.silent(SILENCE):
                try:
                    await service.metadata.device(camera)
                except NotFound:
                    forget(camera)
