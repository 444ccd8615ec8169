"""Auto events: read a source every interval and publish it, if wanted only when it has changed (contract 6.6).

A schedule begins one interval after its device became active, keeps to its grid, and skips what it was late for. It
ends with a lock, a deletion or other auto events, and takes no notice of any other change of its device.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.event_changes import Changes
from edgex_kit.wire.devices import AutoEvent
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import EdgexError, Invalid
from edgex_kit.wire.messages import Event, new_id

log = logging.getLogger(__name__)

_SHORTEST = 0.001  # seconds

Schedule = tuple[AutoEvent, ...]


class AutoEvents:
    """The schedules of all active devices."""

    def __init__(
        self, devices: Devices, commands: Commands, send: Callable[[Event, str], bool], tasks: asyncio.TaskGroup
    ) -> None:
        self._devices = devices
        self._commands = commands
        self._send = send
        self._tasks = tasks
        self._running: dict[str, tuple[Schedule, list[asyncio.Task[None]]]] = {}
        self._leave = devices.on_change(self.reconcile)
        for device in devices.all():
            self.reconcile(device.name)

    def close(self) -> None:
        """Follow no change any more; the group ends what runs."""
        self._leave()

    def reconcile(self, name: str) -> None:
        """Bring the schedules of a device in line with the device."""
        wanted = self._wanted(name)
        now, tasks = self._running.pop(name, ((), []))
        if wanted == now and tasks:
            self._running[name] = now, tasks
            return
        for task in tasks:
            task.cancel()
        if wanted:
            started = [self._tasks.create_task(self._run(name, one), name=f"auto event:{name}") for one in wanted]
            self._running[name] = wanted, started

    def _wanted(self, name: str) -> Schedule:
        device = self._devices.find(name)
        if device is None or not device.profile_name or not self._devices.is_active(name):
            return ()
        return device.auto_events or ()

    async def _run(self, name: str, auto: AutoEvent) -> None:
        try:
            interval = _interval(auto)
        except Invalid as error:
            log.warning("auto event '%s' of device '%s' does not run: %s", auto.source_name, name, error)
            return
        changes = Changes(auto.on_change_threshold) if auto.on_change else None
        said = ""
        async for _ in _grid(interval):
            try:
                event = await self._commands.read(name, auto.source_name)
                said = ""
                if changes is None or changes.has(event):
                    self._send(event, new_id())
            except EdgexError as error:
                if str(error) != said:  # once a reason, not once an interval
                    said = str(error)
                    log.warning("auto event '%s' of device '%s': %s", auto.source_name, name, error)
            except Exception:  # this schedule goes on with its next turn
                log.exception("auto event '%s' of device '%s' failed", auto.source_name, name)


async def _grid(interval: float) -> AsyncIterator[None]:
    """Every `interval` seconds from now on, never in a burst."""
    loop = asyncio.get_running_loop()
    due = loop.time() + interval
    while True:
        await asyncio.sleep(due - loop.time())
        yield
        due += interval * ((loop.time() - due) // interval + 1)


def _interval(auto: AutoEvent) -> float:
    interval = parse_duration(auto.interval)
    if interval < _SHORTEST:
        raise Invalid(f"an interval of at least 1ms expected, got '{auto.interval}'")
    return interval
