"""What of a rollout survives a power cut: one small file a model, whole or not there, written before each step.

Each write goes to a temporary file beside it, is fsynced, renamed over the old one, and the folder is fsynced too.
`Progress` is one model's record while the service runs, `Starts` what the next start finds in it.
"""

import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from edgex_kit.supervision import Causes
from edgex_kit.wire.errors import Conflict, EdgexError, Malformed, Unavailable
from msgspec import Struct, field

from app_inference.models.repository import Repository
from app_inference.models.staging import sync_folder
from app_inference.models.versions import newest
from app_inference.rollout.drift import Baseline
from app_inference.rollout.reported import REPORTED_FILE, parse_reported
from app_inference.rollout.steps import SUSPECT, Step, may_follow

log = logging.getLogger(__name__)
audit = logging.getLogger("app_inference.audit")

LOCK = "lock"  # in the folder of the state
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
    retried: int = 0  # generation of the last request with `retry` that tried a quarantined version
    is_locked: bool = False  # the device's adminState as it was last heard
    baseline: Baseline | None = None  # what the active version found when it was committed

    def is_quarantined(self, digest: str) -> bool:
        return any(entry.digest == digest for entry in self.quarantine)


def hold(folder: Path, owner: str) -> contextlib.AbstractContextManager[object]:
    """Keep the state in `folder` for this process until the result is closed; raises Conflict with the other owner.

    A folder that cannot be written is not held: nothing is journalled in it either.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        log.warning("%s cannot be locked against a second instance: %s", folder, error.strerror)
        return contextlib.nullcontext()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with file:
            file.seek(0)
            other = file.read(200).strip() or "another process"
        raise Conflict(f"{folder} is in use by {other}; give this instance an Inference.StateDir of its own") from error
    with contextlib.suppress(OSError):  # a full disk: it is held all the same
        file.truncate(0)
        file.write(f"{owner}, process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    return file


class JournalFailed(Unavailable):
    """A record cannot be written: no step is taken until it can."""


class Journal:
    """The records under one folder. The record before the last stays beside it, in case the last one is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> Record:
        """The record of a model; a fresh one when there is none.

        A damaged one is kept as `<name>.damaged`, and the one before is returned. Raises Malformed where there is none,
        Unavailable for one that cannot be read.
        """
        for path in (self._path(name, "json"), self._path(name, "before")):
            try:
                return msgspec.json.decode(path.read_bytes(), type=Record)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise Unavailable(f"journal {path}: {error.strerror}") from error
            except (msgspec.MsgspecError, RecursionError) as error:
                log.error("journal %s is damaged, and kept as %s.damaged: %s", path, name, error)  # noqa: TRY400
                with contextlib.suppress(OSError):
                    path.replace(self._path(name, "damaged"))
        if self._path(name, "damaged").exists():
            raise Malformed(f"journal of model '{name}' in {self.folder} was damaged, and none is left")
        return Record()

    def write(self, name: str, record: Record) -> None:
        """Store a record durably. Raises JournalFailed, as for a full disk."""
        try:
            self._put(name, msgspec.json.encode(record))
        except OSError as error:
            raise JournalFailed(f"journal {self._path(name, 'json')}: {error.strerror}") from error

    def names(self) -> list[str]:
        """Every model with a record."""
        return sorted({path.stem for suffix in ("json", "before") for path in self.folder.glob(f"*.{suffix}")})

    def _put(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path, part = self._path(name, "json"), self._path(name, "part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            path.replace(self._path(name, "before"))
        part.replace(path)
        sync_folder(self.folder)

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"


class Progress:
    """The record of one model. `notify` is called after every change of it."""

    def __init__(self, name: str, journal: Journal, notify: Callable[[], None]) -> None:
        try:
            self.record = journal.read(name)
        except Malformed as error:  # already logged; the next committed version writes a new one
            self.record = Record(reason=str(error))
        self._written = self.record
        self._name = name
        self._journal = journal
        self._notify = notify
        self._causes = Causes()

    def reread(self) -> None:
        """Take over what the journal says now. Raises EdgexError."""
        if self.record is self._written:
            self.record = self._written = self._journal.read(self._name)

    def step(self, step: Step, **changes: object) -> None:
        """Journal a step before it is taken. Raises JournalFailed: it must then not be taken.

        Written on the event loop on purpose: a step is rare, and nothing may come between it and what it names.
        """
        if not may_follow(step, self.record.step):
            raise Malformed(f"model '{self._name}': {step} cannot follow {self.record.step}")
        record = self._with_step(step, **changes)
        self._journal.write(self._name, record)
        self.record = self._written = record
        self._notify()
        log.info("model '%s': %s %s", self._name, step, self.record.candidate)

    def note(self, **changes: object) -> None:
        """Take over what has happened, and journal it now if that works, else with a later `flush`."""
        self.record = msgspec.structs.replace(self.record, **changes)
        self.flush()
        self._notify()

    def flush(self) -> bool:
        """Write what could not be written when it happened; whether the journal is up to date."""
        if self.record is self._written:
            return True
        try:
            self._journal.write(self._name, self.record)
        except JournalFailed as error:
            if self._causes.is_new(error):
                log.warning("model '%s': its state is kept in memory until it can be written: %s", self._name, error)
            return False
        self._written = self.record
        self._causes.clear()
        return True

    def end(self) -> None:
        """A stop that was wanted is no crash: what was being tried is not blamed for it. Raises EdgexError."""
        if self.record.step in SUSPECT:
            self.record = msgspec.structs.replace(self.record, boots=self.record.boots - 1)
        self.flush()

    def quarantine(self, digest: str, version: str, reason: str) -> None:
        """Do not try this version again by itself."""
        if added := self._with(digest, version, reason):
            self.note(quarantine=added)

    def give_up(self, reason: str, serving: str, requested: str, *, quarantine: bool) -> bool:
        """Note that the candidate is dropped, or `requested` refused without one; True if it had received frames."""
        blamed = self._blamed(reason) if quarantine else {}
        is_return = self.record.step in (Step.SHADOW, Step.CANARY, Step.SWITCH, Step.OBSERVE)
        if is_return:
            log.warning("model '%s': back to %s: %s", self._name, serving, reason)
            self.note(step=Step.ROLLBACK, reason=reason, **blamed)
            blamed = {}
        if self.record.step is Step.IDLE:
            self.note(reason=reason, refused=requested)
        else:
            gone = {"candidate": "", "candidate_digest": "", "refused": self.record.candidate, "boots": 0}
            self.note(step=Step.IDLE, since_ns=str(time.time_ns()), reason=reason, **gone, **blamed)
        return is_return

    def _with_step(self, step: Step, **changes: object) -> Record:
        return msgspec.structs.replace(self.record, step=step, since_ns=str(time.time_ns()), **changes)

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
        """The committed version of a model, "" when it never had one; counts a start after a crash under a candidate.

        A start always begins with the committed version, which is known to be good; the request for the candidate, if
        it is still in force, is followed again. A candidate that was there when the process died twice is quarantined.
        Where the journal is damaged, the last reported state says which version that is. Raises Unavailable where
        nothing says it: the newest version is never served without the gate, nor is one in quarantine.
        """
        try:
            record = self.journal.read(name)
        except EdgexError as error:
            record = self._recovered_from_report(name, str(error))
        try:
            if record.step is not Step.IDLE:
                record = _recovered(self.journal, name, record)
        except EdgexError as error:
            log.warning("model '%s': that its last start did not end well could not be noted: %s", name, error)
        there = self.repository.versions(name)
        is_new = not record.active and not record.quarantine
        if is_new or record.active in there or self.before(name) or not there:
            return record.active
        found = newest([it for it in there if not (record.quarantine and self._is_quarantined(record, name, it))])
        if found is None:
            raise Unavailable(f"model '{name}': every version is in quarantine; deploy one with `--retry`")
        return found

    def _recovered_from_report(self, name: str, damage: str) -> Record:
        """A new record from the reported state beside the journal; raises Unavailable."""
        try:
            report = parse_reported((self.journal.folder.parent / REPORTED_FILE).read_bytes()).models[name]
        except (OSError, EdgexError, KeyError):
            report = None
        is_switched = report is not None and report.state in (Step.SWITCH, Step.OBSERVE)
        committed = report and (report.previous if is_switched else report.active)
        if report is None or not committed:
            text = f"{damage}; no reported state says which version served: request one with `edgex-models deploy`"
            raise Unavailable(text)
        log.warning("model '%s' starts with version %s of its reported state: %s", name, committed.version, damage)
        since, entries = str(time.time_ns()), []
        for version, reason in report.quarantine_reasons.items():
            with contextlib.suppress(EdgexError):  # not on disk any more
                entries.append(Quarantine(self._identity(name, version), version, reason, since))
        previous = report.previous.version if report.previous and not is_switched else ""
        record = Record(active=committed.version, previous=previous, quarantine=tuple(entries), since_ns=since)
        with contextlib.suppress(EdgexError):  # it is recovered again at the next start
            self.journal.write(name, record)
        return record

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


def _recovered(journal: Journal, name: str, record: Record) -> Record:
    boots = record.boots + 1 if record.step in SUSPECT else record.boots
    changes: dict[str, object] = {"boots": boots}
    if boots >= MAX_BOOTS:
        reason = f"the process died {boots} times while it was tried (last in {record.step})"
        log.warning("model '%s': version %s is quarantined: %s", name, record.candidate, reason)
        entry = Quarantine(record.candidate_digest, record.candidate, reason, str(time.time_ns()))
        changes = {"boots": 0, "reason": reason, "refused": record.candidate, "quarantine": (*record.quarantine, entry)}
    ended = msgspec.structs.replace(record, step=Step.IDLE, candidate="", **changes)
    journal.write(name, ended)
    return ended
