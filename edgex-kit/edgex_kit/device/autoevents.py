"""Auto events: read a source at an interval and publish it, if wanted only when it has changed.

A schedule begins one interval after its device became active, keeps to its grid, and skips the times it was late for.
It ends when the device is locked, deleted or gets other auto events; other changes of the device do not matter.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.wire.devices import AutoEvent
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import EdgexError, Invalid
from edgex_kit.wire.messages import Event, Reading, new_id
from edgex_kit.wire.values import NUMBERS

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
        self._stop_following = devices.on_change(self.reconcile)
        for device in devices.all():
            self.reconcile(device.name)

    def close(self) -> None:
        """Follow no change any more; the task group ends the running schedules."""
        self._stop_following()

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
        logged = ""
        async for _ in _grid(interval):
            try:
                event = await self._commands.read(name, auto.source_name)
                logged = ""
                if changes is None or changes.has(event):
                    self._send(event, new_id())
            except EdgexError as error:
                if str(error) != logged:  # once a cause, not once an interval
                    logged = str(error)
                    log.warning("auto event '%s' of device '%s': %s", auto.source_name, name, error)
            except Exception:  # this schedule goes on with its next interval
                log.exception("auto event '%s' of device '%s' failed", auto.source_name, name)


class Changes:
    """Whether an event differs from the last one sent; numbers by more than `threshold`.

    As it is compared with what was sent, a slow drift is seen once it has gone far enough. Binary readings are compared
    by a digest of their bytes.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sent: dict[str, Any] = {}

    def has(self, event: Event) -> bool:
        """True for the first event and for each with a changed reading, which is remembered as sent."""
        now = {one.resource_name: (one, _content(one)) for one in event.readings}
        sent = self._sent
        if sent.keys() != now.keys():
            self._sent = {name: content for name, (_, content) in now.items()}
            return True
        changed = {name: content for name, (one, content) in now.items() if self._differs(one, sent[name], content)}
        sent.update(changed)
        return bool(changed)

    def _differs(self, reading: Reading, before: Any, now: Any) -> bool:
        if reading.value_type in NUMBERS and before is not None and now is not None:
            return abs(float(before) - float(now)) > self._threshold
        return bool(before != now)


def _content(reading: Reading) -> Any:
    if isinstance(reading.binary_value, bytes | memoryview):
        return hashlib.blake2b(reading.binary_value, digest_size=16).digest()
    if reading.value_type in ("Object", "ObjectArray"):
        return reading.object_value
    return reading.value


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
