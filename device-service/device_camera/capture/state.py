"""The state of one camera and why.

stopped ──start──> connecting ──first frame──> streaming
   ▲                   │ failure                │ failure
   │                   ▼                        ▼
   └──stop, end────── lost <────────────────── lost ──first frame──> streaming

A lost camera stays lost while it is tried again; only its reason may change.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from device_camera.timing import Clock

log = logging.getLogger(__name__)


class State(StrEnum):
    CONNECTING = "connecting"
    STREAMING = "streaming"
    LOST = "lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """State, reason and since when; `since_ns` is when the state began, not the reason."""

    state: State
    reason: str
    since_ns: int  # UNIX time, nanoseconds


class Health:
    """Holds the status, notifies listeners when it changes and lets others wait for a change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._listeners: list[Callable[[Status], None]] = []
        self._status = Status(State.STOPPED, "", clock.unix_ns())

    @property
    def status(self) -> Status:
        return self._status

    def listen(self, listener: Callable[[Status], None]) -> None:
        """Call `listener` with each new status, in the thread that found it: cross to your own inside it."""
        self._listeners.append(listener)

    def become(self, state: State, reason: str = "") -> bool:
        """Set state and reason and notify; False, and no notification, when both are the same already."""
        with self._changed:
            old = self._status
            if (old.state, old.reason) == (state, reason):
                return False
            since = old.since_ns if old.state is state else self._clock.unix_ns()
            self._status = status = Status(state, reason, since)
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            _notify(listener, status)
        return True

    def wait_for(self, *states: State, seconds: float) -> Status:
        """Wait for one of `states`; the status at the end of the wait, whatever it is then."""
        with self._changed:
            self._changed.wait_for(lambda: self._status.state in states, seconds)
            return self._status


def _notify(listener: Callable[[Status], None], status: Status) -> None:
    try:
        listener(status)
    except Exception:  # a listener's fault; the camera and the other listeners go on
        log.exception("a listener failed on the camera state %s", status.state)
