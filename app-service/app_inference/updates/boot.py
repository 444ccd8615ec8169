"""What a start finds in the journal: which version to begin with, and whether a candidate killed the process before."""

import logging
import time

import msgspec
from edgex_kit.errors import EdgexError, Malformed

from app_inference.updates.journal import MAX_BOOTS, Journal, Quarantine, Record
from app_inference.updates.steps import SUSPECT, Step

log = logging.getLogger(__name__)


def version_to_boot(journal: Journal, name: str) -> str:
    """The committed version of a model, "" when there is none; counts a start after a crash under a candidate.

    A start always begins with the committed version, which is known to be good; the wish for the candidate, if it still
    stands, is followed again. A candidate that was there when the process died twice is quarantined. A disk that cannot
    be written costs the count, and not the start.
    """
    try:
        record = journal.read(name)
    except Malformed as error:
        log.warning("%s; it is begun anew", error)
        journal.remove(name)
        return ""
    except EdgexError as error:
        log.warning("model '%s' starts with its newest version: %s", name, error)
        return ""
    try:
        if record.step is not Step.IDLE:
            record = _recovered(journal, name, record)
    except EdgexError as error:
        log.warning("model '%s': that its last start did not end well could not be noted: %s", name, error)
    return record.active


def note_boot(journal: Journal, name: str, version: str) -> None:
    """What a model started with is its committed version from now on.

    Without that a newer version, copied into the folder later, would serve at the next start without any gate.
    """
    try:
        record = journal.read(name)
        if record.active != version and record.step is Step.IDLE:
            journal.write(name, msgspec.structs.replace(record, active=version, baseline=None))
    except EdgexError as error:
        log.warning("model '%s': that version %s serves could not be noted: %s", name, version, error)


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
