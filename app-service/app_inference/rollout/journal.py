"""What of a rollout survives a power cut: one small file a model, whole or not there, written before each step.

Each write goes to a temporary file beside it, is fsynced, renamed over the old one, and the folder is fsynced too.
"""

import os
from pathlib import Path

import msgspec
from edgex_kit.wire.errors import Malformed, Unavailable
from msgspec import Struct, field

from app_inference.models.staging import sync_folder
from app_inference.rollout.drift import Baseline
from app_inference.rollout.steps import Step, may_follow

MAX_BOOTS = 2  # starts that end in a crash under a candidate before it is given up


class Quarantine(Struct, rename="camel", frozen=True):
    """A digest that is not tried again by itself."""

    digest: str
    version: str
    reason: str
    since_ns: str  # UNIX ns in decimal


class Record(Struct, rename="camel", frozen=True, kw_only=True):
    """One model's rollout as it stands."""

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
