"""Zip and tar archives of models, unpacked by rules that leave an archive no way to do harm.

Only plain files and folders below the target; no links, no devices, no name twice; never more bytes than agreed on,
whatever the archive says of itself.
"""

import contextlib
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from app_inference.errors import ModelRejected

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_FILES = 10_000
_CHUNK = 1 << 20

Progress = Callable[[int], None]


def is_archive(path: Path) -> bool:
    """Whether the name says so."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, target: Path, limit: int, progress: Progress | None = None) -> None:
    """Unpack into the folder `target`, at most `limit` bytes; raises ModelRejected, OSError from the disk.

    What was unpacked before a refusal stays for the caller to remove.
    """
    extract = _unzip if archive.name.lower().endswith(".zip") else _untar
    budget = _Budget(archive, limit, progress)
    with _told(archive):
        extract(archive, target, budget)


class _Budget:
    """Counts names and bytes of one archive."""

    def __init__(self, archive: Path, limit: int, progress: Progress | None) -> None:
        self._archive = archive
        self._left = limit
        self._limit = limit
        self._progress = progress
        self._files = 0

    def admit(self, name: str, size: int) -> PurePosixPath:
        """The name as a path below the target, its announced size within what is left; raises ModelRejected."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
            raise ModelRejected(f"{self._archive}: {name!r} lies outside the archive's folder")
        self._files += 1
        if self._files > MAX_FILES:
            raise ModelRejected(f"{self._archive}: more than {MAX_FILES} files")
        self.spend(0, announced=size)
        return path

    def spend(self, size: int, announced: int = 0) -> None:
        self._left -= size
        if self._left < announced:
            raise ModelRejected(f"{self._archive}: unpacks to more than {self._limit / 1e6:.0f} MB")
        if self._progress and size:
            self._progress(size)


def _unzip(archive: Path, target: Path, budget: _Budget) -> None:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ModelRejected(f"{archive}: {entry.filename!r} is a link or a device")
            path = target / budget.admit(entry.filename, entry.file_size)
            if entry.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            with opened.open(entry) as inside:
                _write(inside, path, budget)


def _untar(archive: Path, target: Path, budget: _Budget) -> None:
    with tarfile.open(archive) as opened:
        for entry in opened:
            if entry.name.strip("./") == "":  # the folder itself
                continue
            if not (entry.isreg() or entry.isdir()) or entry.issparse():
                raise ModelRejected(f"{archive}: {entry.name!r} is a link, a device or sparse")
            path = target / budget.admit(entry.name, entry.size)
            if entry.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            inside = opened.extractfile(entry)
            assert inside is not None  # a regular file
            with inside:
                _write(inside, path, budget)


def _write(inside: IO[bytes], path: Path, budget: _Budget) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        while chunk := inside.read(_CHUNK):
            budget.spend(len(chunk))
            out.write(chunk)


@contextlib.contextmanager
def _told(archive: Path) -> Iterator[None]:
    """What the libraries say of a broken archive, as a refusal."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise ModelRejected(f"{archive}: damaged, or of a kind we cannot read: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ModelRejected(f"{archive}: two entries want to be {Path(error.filename).name!r}") from error
    except RuntimeError as error:  # how zipfile says that there is a password
        raise ModelRejected(f"{archive}: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ModelRejected(f"{archive}: damaged: {error}") from error  # how bz2 says it


def move_up(folder: Path, inner: Path) -> None:
    """Let `inner`, somewhere below `folder`, take its place; all else in it goes."""
    aside = folder / ".model"
    inner.rename(aside)
    for entry in folder.iterdir():
        if entry != aside:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for entry in aside.iterdir():
        entry.rename(folder / entry.name)
    aside.rmdir()
