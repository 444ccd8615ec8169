"""A folder appears whole or not at all: made beside its place, written through to the disk, sealed, renamed once.

A power cut leaves a `.incoming-` folder, which is no version; the next call removes it.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgex_kit.wire.errors import Conflict

from app_inference.errors import ModelUnavailable, NoRoom

PREFIX, GONE = ".incoming-", ".gone-"
STALE = 60.0  # seconds after which a folder that nobody holds was left behind
RESERVE = 64 << 20  # bytes that are left free: a journal must always find room
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Stage:
    """A folder on its way: `target` is where it is to appear, and may be found out late."""

    folder: Path
    target: Path
    may_replace: bool = False


@contextlib.contextmanager
def staged(root: Path, target: Path | None = None, *, may_replace: bool = False) -> Iterator[Stage]:
    """A new folder in `root` that becomes its target, read-only, when the block ends well, and is gone when not.

    Raises Conflict when the target is there already and may not be replaced, NoRoom when the disk is full,
    ModelUnavailable for other troubles.
    """
    with _refusals(target or root):
        root.mkdir(parents=True, exist_ok=True)
        clear(root)
        stage = Stage(Path(tempfile.mkdtemp(prefix=PREFIX, dir=root)), target or root, may_replace)
        with _held(stage.folder):
            try:
                yield stage
                _seal(stage.folder)
                _place(stage)
            except BaseException:  # also one that is cancelled or interrupted leaves nothing behind; it is raised again
                remove(stage.folder)
                raise


def _place(stage: Stage) -> None:
    parent = stage.target.parent
    is_new = not parent.exists()
    parent.mkdir(parents=True, exist_ok=True)
    try:
        if stage.may_replace:
            remove(stage.target)
        refuse_existing(stage.target)
        stage.folder.rename(stage.target)
    except BaseException:  # as above: tidied up, and raised again
        if is_new:
            parent.rmdir()
        raise
    sync_folder(parent)


def refuse_existing(target: Path) -> None:
    """Raise Conflict when `target` is there: a version is never changed."""
    if target.exists():
        raise Conflict(f"{target}: there already, and a version never changes; give the new one another number")


def need_room(folder: Path, size: int) -> None:
    """Raise NoRoom when `size` bytes do not fit on the disk of `folder`, or of its nearest parent that exists."""
    free = free_bytes(folder)
    if size > free - RESERVE:
        raise NoRoom(f"{folder}: {size / 1e6:.1f} MB are needed, {max(0, free - RESERVE) / 1e6:.1f} MB are free")


def free_bytes(folder: Path) -> int:
    """What an unprivileged process may still write on the disk of `folder`."""
    while not folder.exists():
        folder = folder.parent
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def remove(folder: Path) -> None:
    """Remove a folder, which may be read-only; it is never visible half-removed."""
    gone = folder.with_name(f"{GONE}{folder.name}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
        for path in (gone, *(path for path in gone.rglob("*") if path.is_dir() and not path.is_symlink())):
            path.chmod(0o755)
        shutil.rmtree(gone)


def clear(parent: Path) -> None:
    """Remove what a process that died left behind; folders still held by a living one stay."""
    for folder in (*parent.glob(f"{PREFIX}*"), *parent.glob(f"{GONE}*")):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE:
                with _held(folder):
                    remove(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as this process lives; raises OSError when another one does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _refusals(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoRoom(f"{target}: the disk is full; nothing was added") from error
        raise ModelUnavailable(f"{error.filename or target}: {error.strerror}") from error


def _seal(folder: Path) -> None:
    """Write everything through to the disk, then make it read-only."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path.is_dir():
            sync_folder(path)
            path.chmod(0o555)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
    sync_folder(folder)
    folder.chmod(0o555)
