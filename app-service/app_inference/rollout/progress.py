"""How far one model's updates have come, journalled before it happens."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from app_inference.rollout.journal import Journal, Quarantine, Record
from app_inference.rollout.steps import Step

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RolloutCounts:
    """What became of the wishes since the start."""

    swaps: int = 0
    rollbacks: int = 0
    refusals: int = 0


class Progress:
    """The record of one model. `tell` is called after every change of it."""

    def __init__(self, name: str, journal: Journal, tell: Callable[[], None]) -> None:
        self.record = journal.read(name)
        self._name = name
        self._journal = journal
        self._tell = tell

    def reread(self) -> None:
        """Take up what the journal says now. Raises EdgexError."""
        self.record = self._journal.read(self._name)

    def step(self, step: Step, **changes: object) -> None:
        """Journal the step before it is taken."""
        self.store(step=step, since_ns=str(time.time_ns()), **changes)
        log.info("model '%s': %s %s", self._name, step, self.record.candidate)

    def store(self, **changes: object) -> None:
        """Written on the event loop on purpose: a step is rare, and nothing may come between it and what it names."""
        record: Record = msgspec.structs.replace(self.record, **changes)
        self.record = self._journal.write(self._name, record)
        self._tell()

    def quarantine(self, digest: str, version: str, reason: str) -> None:
        """Do not try this version again by itself."""
        if added := self._with(digest, version, reason):
            self.store(quarantine=added)

    def give_up(self, reason: str, serving: str, requested: str, *, quarantine: bool) -> bool:
        """Note that the candidate is gone, or `wished` refused where there was none; True when frames had met it."""
        blamed = self._blamed(reason) if quarantine else {}
        is_return = self.record.step in (Step.SHADOW, Step.CANARY, Step.SWITCH, Step.OBSERVE)
        if is_return:
            log.warning("model '%s': back to %s: %s", self._name, serving, reason)
            self.step(Step.ROLLBACK, reason=reason, **blamed)
        if self.record.step is Step.IDLE:
            self.store(reason=reason, refused=requested)
        else:
            gone = {"candidate": "", "candidate_digest": "", "refused": self.record.candidate, "boots": 0}
            self.step(Step.IDLE, reason=reason, **gone, **blamed)
        return is_return

    def _blamed(self, reason: str) -> dict[str, object]:
        """What changes with the candidate in quarantine; nothing when its digest is unknown or there already."""
        added = self._with(self.record.candidate_digest, self.record.candidate, reason)
        return {"quarantine": added} if added else {}

    def _with(self, digest: str, version: str, reason: str) -> tuple[Quarantine, ...]:
        if not digest or self.record.is_quarantined(digest):
            return ()
        return (*self.record.quarantine, Quarantine(digest, version, reason, str(time.time_ns())))
