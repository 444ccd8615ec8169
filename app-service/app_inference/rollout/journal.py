"""What of a rollout survives a power cut: one small file a model, whole or not there, written before each step.

Each write goes to a temporary file beside it, is fsynced, renamed over the old one, and the folder is fsynced too.
`Progress` is one model's record while the service runs, `Starts` what the next start finds in it.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from edgex_kit.wire.errors import EdgexError, Malformed, Unavailable
from msgspec import Struct, field

from app_inference.models.repository import Repository
from app_inference.models.staging import sync_folder
from app_inference.rollout.drift import Baseline
from app_inference.rollout.steps import SUSPECT, Step, may_follow

log = logging.getLogger(__name__)
audit = logging.getLogger("app_inference.audit")

MAX_BOOTS = 2  # starts that end in a crash under a candidate before it is given up


class Quarantine(Struct, rename="camel", frozen=True):
    """A digest that is not tried again by itself."""

    digest: str
    version: str
    reason: str
    since_ns: str  # UNIX ns in decimal


class Record(Struct, rename="camel", frozen=True, kw_only=True):
    """The state of one model's rollout."""

    step: Step = Step.IDLE
    active: str = ""  # version to boot with
    previous: str = ""  # the committed version before it
    candidate: str = ""
    candidate_digest: str = ""
    generation: int = 0  # of the desired state that the last rollout followed
    boots: int = 0  # starts since the candidate came that did not end well
    reason: str = ""  # of the last refusal or rollback
    refused: str = ""  # the version it is about
    since_ns: str = "0"
    quarantine: tuple[Quarantine, ...] = field(default_factory=tuple)
    is_locked: bool = False  # the device's adminState as it was last heard
    baseline: Baseline | None = None  # what the active version found when it was committed

    def is_quarantined(self, digest: str) -> bool:
        return any(entry.digest == digest for entry in self.quarantine)


class Journal:
    """The records under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Record:
        """The record of a model; a fresh one when there is none.

        Raises Malformed for one that was damaged, Unavailable for one that cannot be read.
        """
        path = self._path(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise Unavailable(f"journal {path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise Malformed(f"journal {path}: {error}") from error

    def write(self, name: str, record: Record) -> Record:
        """Store a record for good before the step it names is taken; gives it back. Raises Unavailable: a full disk."""
        before = self.read(name)
        if record.step != before.step and not may_follow(record.step, before.step):
            raise Malformed(f"model '{name}': {record.step} cannot follow {before.step}")
        try:
            self._put(self._path(name), msgspec.json.encode(record))
        except OSError as error:
            raise Unavailable(f"journal {self._path(name)}: {error.strerror}") from error
        return record

    def remove(self, name: str) -> None:
        """Forget a model."""
        self._path(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Every model with a record."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    @staticmethod
    def _put(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


class Progress:
    """The record of one model. `notify` is called after every change of it."""

    def __init__(self, name: str, journal: Journal, notify: Callable[[], None]) -> None:
        self.record = journal.read(name)
        self._name = name
        self._journal = journal
        self._notify = notify

    def reread(self) -> None:
        """Take over what the journal says now. Raises EdgexError."""
        self.record = self._journal.read(self._name)

    def step(self, step: Step, **changes: object) -> None:
        """Journal the step before it is taken."""
        self.store(step=step, since_ns=str(time.time_ns()), **changes)
        log.info("model '%s': %s %s", self._name, step, self.record.candidate)

    def store(self, **changes: object) -> None:
        """Written on the event loop on purpose: a step is rare, and nothing may come between it and what it names."""
        record: Record = msgspec.structs.replace(self.record, **changes)
        self.record = self._journal.write(self._name, record)
        self._notify()

    def quarantine(self, digest: str, version: str, reason: str) -> None:
        """Do not try this version again by itself."""
        if added := self._with(digest, version, reason):
            self.store(quarantine=added)

    def give_up(self, reason: str, serving: str, requested: str, *, quarantine: bool) -> bool:
        """Journal that the candidate is dropped, or `requested` refused without one; True if it had received frames."""
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


@dataclass(frozen=True, slots=True)
class Starts:
    """Remembers from one start to the next. A disk that cannot be read or written costs the memory, not the start."""

    journal: Journal
    repository: Repository

    def version(self, name: str) -> str:
        """The committed version of a model, "" when there is none; counts a start after a crash under a candidate.

        A start always begins with the committed version, which is known to be good; the request for the candidate, if
        it is still in force, is followed again. A candidate that was there when the process died twice is quarantined.
        """
        try:
            record = self.journal.read(name)
        except Malformed as error:
            log.warning("%s; it is started again", error)
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
