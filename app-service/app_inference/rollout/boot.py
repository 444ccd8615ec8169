"""What a start finds in the journal: which version to begin with, which one instead if that is damaged, and whether a
candidate killed the process before."""

import logging
import time
from dataclasses import dataclass

import msgspec
from edgex_kit.wire.errors import EdgexError, Malformed

from app_inference.models.repository import Repository
from app_inference.rollout.journal import MAX_BOOTS, Journal, Quarantine, Record
from app_inference.rollout.steps import SUSPECT, Step

log = logging.getLogger(__name__)
audit = logging.getLogger("app_inference.audit")


@dataclass(frozen=True, slots=True)
class Starts:
    """Remembers from one start to the next. A disk that cannot be read or written costs the memory, not the start."""

    journal: Journal
    repository: Repository

    def version(self, name: str) -> str:
        """The committed version of a model, "" when there is none; counts a start after a crash under a candidate.

        A start always begins with the committed version, which is known to be good; the wish for the candidate, if it
        still stands, is followed again. A candidate that was there when the process died twice is quarantined.
        """
        try:
            record = self.journal.read(name)
        except Malformed as error:
            log.warning("%s; it is begun anew", error)
            self.journal.remove(name)
            return ""
        except EdgexError as error:
            log.warning("model '%s' starts with its newest version: %s", name, error)
            return ""
        try:
            if record.step is not Step.IDLE:
                record = _recovered(self.journal, name, record)
        except EdgexError as error:
            log.warning("model '%s': that its last start did not end well could not be noted: %s", name, error)
        return record.active

    def before(self, name: str) -> str:
        """The committed version before that one; "" when there is none on disk, or only one that is quarantined."""
        try:
            record = self.journal.read(name)
            if record.previous not in self.repository.versions(name):
                return ""
            return "" if record.quarantine and self._is_quarantined(record, name, record.previous) else record.previous
        except EdgexError as error:
            log.warning("model '%s' has no version to start with instead: %s", name, error)
            return ""

    def note(self, name: str, version: str) -> None:
        """What a model started with is its committed version from now on.

        Without that a newer version, copied into the folder later, would serve at the next start without any gate.
        """
        try:
            record = self.journal.read(name)
            if record.active != version and record.step is Step.IDLE:
                self.journal.write(name, msgspec.structs.replace(record, active=version, baseline=None))
        except EdgexError as error:
            log.warning("model '%s': that version %s serves could not be noted: %s", name, version, error)

    def note_return(self, name: str, version: str, reason: str) -> None:
        """The committed version cannot serve and is quarantined as it is now; `version`, the one before it, serves."""
        try:
            record = self.journal.read(name)
            damaged = record.active
            text = "model '%s': version %s, which is committed, cannot serve; %s serves, the one before: %s"
            audit.error(text, name, damaged, version, reason)
            entries = (*record.quarantine, *self._blamed(record, name, damaged, reason))
            told = {"reason": reason, "refused": damaged, "since_ns": str(time.time_ns())}
            back = msgspec.structs.replace(
                record, active=version, previous="", baseline=None, quarantine=entries, **told
            )
            self.journal.write(name, back)
        except EdgexError as error:
            log.warning("model '%s': that version %s serves could not be noted: %s", name, version, error)

    def _blamed(self, record: Record, name: str, version: str, reason: str) -> tuple[Quarantine, ...]:
        """An entry for a version; none for one that has one, or is not all there, so that no digest can be taken."""
        try:
            digest = self._identity(name, version)
        except EdgexError as error:
            log.warning("model '%s': version %s could not be quarantined: %s", name, version, error)
            return ()
        if record.is_quarantined(digest):
            return ()
        return (Quarantine(digest, version, reason, str(time.time_ns())),)

    def _is_quarantined(self, record: Record, name: str, version: str) -> bool:
        return record.is_quarantined(self._identity(name, version))

    def _identity(self, name: str, version: str) -> str:
        stored = self.repository.version(name, version)
        return stored.identity(stored.digest())


def end_well(journal: Journal, name: str) -> None:
    """A stop that was wanted is no crash: what was being tried is not blamed for it."""
    record = journal.read(name)
    if record.step in SUSPECT:
        journal.write(name, msgspec.structs.replace(record, boots=record.boots - 1))


def _recovered(journal: Journal, name: str, record: Record) -> Record:
    boots = record.boots + 1 if record.step in SUSPECT else record.boots
    changes: dict[str, object] = {"boots": boots}
    if boots >= MAX_BOOTS:
        reason = f"the process died {boots} times while it was tried (last in {record.step})"
        log.warning("model '%s': version %s is quarantined: %s", name, record.candidate, reason)
        entry = Quarantine(record.candidate_digest, record.candidate, reason, str(time.time_ns()))
        changes = {"boots": 0, "reason": reason, "refused": record.candidate, "quarantine": (*record.quarantine, entry)}
    if record.step in (Step.SHADOW, Step.CANARY, Step.SWITCH, Step.OBSERVE):
        record = journal.write(name, msgspec.structs.replace(record, step=Step.ROLLBACK))
    return journal.write(name, msgspec.structs.replace(record, step=Step.IDLE, candidate="", **changes))
