"""Bring a new version into the repository: copied or unpacked, validated, described, and only then visible.

Archives are zip and tar files. Only plain files and folders below the target are unpacked: no links, no devices, no
name twice, and never more bytes than allowed, whatever the archive says of itself.
"""

import contextlib
import errno
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
from edgex_kit.wire.errors import Conflict, Invalid

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.manifest import (
    FILE_NAME,
    SCHEMA,
    File,
    Golden,
    Input,
    Manifest,
    Thresholds,
    manifest_text,
    parse_manifest,
)
from app_inference.models.repository import (
    Progress,
    Repository,
    StoredModel,
    check_digest,
    check_size,
    file_digest,
    file_inside,
    stored_model,
)
from app_inference.models.staging import free_bytes, need_room, refuse_existing, staged

MAX_BYTES = 16 << 30  # of one version
MAX_FILES = 10_000  # of one archive
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_IGNORED = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_DEPTH = 4  # folders between an archive's top and its model
_CHUNK = 1 << 20
_SILENT = frozenset({"model", "openvino", "openvino_model", "exported_model", "saved_model", "inference"})

Finish = Callable[[StoredModel], Sequence[Golden]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be added, and what its manifest is to say where the source has none."""

    source: Path  # a model file, a folder, or an archive
    name: str = ""
    version: str = ""
    type: str = ""
    license: str = ""
    labels: Sequence[str] | None = None
    label_offset: int | None = None
    input: Input = field(default_factory=Input)
    thresholds: Thresholds = field(default_factory=Thresholds)


def add(
    repository: Repository, wanted: Wanted, finish: Finish | None = None, progress: Progress | None = None
) -> StoredModel:
    """Bring a version in; what is there afterwards is whole, checked and read-only.

    `finish` checks the version before it becomes visible: it refuses it by raising, and returns the golden pictures
    that it added. Raises Conflict for a version that is there, Invalid, ModelRejected, ModelUnavailable or
    NoRoom.
    """
    source = wanted.source.expanduser()
    if not source.exists():
        raise ModelUnavailable(f"{source}: no such file or folder")
    if source.name.lower().endswith(_ARCHIVES):
        return _add_archive(repository, source, wanted, finish, progress)
    found = stored_model(model_folder(source) if source.is_dir() else source)
    name, version = _names(repository, wanted, found, found.folder.name if found.folder != source.parent else "")
    files = list(_parts(found) if source.is_file() else _all(found.folder))
    target = repository.root / name / version
    refuse_existing(target)
    need_room(repository.root, sum(file.stat().st_size for file in files))
    with staged(repository.root, target) as stage, _named(stage.folder, found.folder):
        for file in files:
            _copy(file, stage.folder / file.relative_to(found.folder), progress)
        _describe(stage.folder, name, version, wanted, finish)
    return repository.version(name, version)


def model_folder(root: Path) -> Path:
    """The folder at or below `root` that holds the model; raises ModelRejected when several do."""
    folders = [root, *(path for depth in range(1, _DEPTH + 1) for path in root.glob("/".join("*" * depth)))]
    found = [it for it in folders if it.is_dir() and not _is_ignored(it.relative_to(root)) and _holds_model(it)]
    if not found or found[0] == root:
        return root
    if len(found) > 1:
        places = ", ".join(sorted(str(it.relative_to(root)) for it in found)[:4])
        raise ModelRejected(f"{root}: models in {places}; name one")
    return found[0]


def _add_archive(
    repository: Repository, source: Path, wanted: Wanted, finish: Finish | None, progress: Progress | None
) -> StoredModel:
    """Its name and version are found in what is unpacked."""
    stem = source.name.partition(".")[0]
    need_room(repository.root, source.stat().st_size)
    with staged(repository.root) as stage:
        unpack(source, stage.folder, min(MAX_BYTES, free_bytes(repository.root)), progress)
        with _named(stage.folder, source):
            inner = model_folder(stage.folder)
            if inner != stage.folder:
                _move_up(stage.folder, inner)
            name, version = _names(repository, wanted, stored_model(stage.folder), stem)
            stage.target = repository.root / name / version
            refuse_existing(stage.target)
            _describe(stage.folder, name, version, wanted, finish)
    return repository.version(name, version)


@contextlib.contextmanager
def _named(folder: Path, source: Path) -> Iterator[None]:
    """Refusals name `source`, not the temporary `folder`, which is removed by then."""
    try:
        yield
    except (ModelRejected, ModelUnavailable) as error:
        text = str(error).replace(str(folder.absolute()), str(source))  # a path may be said either way
        raise type(error)(text.replace(str(folder), str(source))) from error


def _names(repository: Repository, wanted: Wanted, found: StoredModel, fallback: str) -> tuple[str, str]:
    """What the version is to be called; raises Invalid where that stays unclear, Conflict for two meanings."""
    if found.manifest is not None:
        for asked, said in ((wanted.name, found.manifest.name), (wanted.version, found.manifest.version)):
            if asked and asked != said:
                raise Conflict(f"its {FILE_NAME} says {said}, {asked} is asked for; a manifest is not rewritten")
        return found.manifest.name, found.manifest.version
    stem = found.name if found.path.is_dir() or found.path.stem not in _SILENT else fallback
    name = wanted.name or _name_from(stem)
    if wanted.version:
        return name, wanted.version
    if found.version != "0.0.0":
        return name, found.version
    if repository.versions(name):
        raise Invalid(f"which version is it? there are {', '.join(repository.versions(name))}; say --version")
    return name, "1.0.0"


def _name_from(stem: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._").lower()
    name = re.sub(r"[-_](openvino|onnx|tflite|paddle)?[-_]?(model|export)$", "", name)
    if not name or name in _SILENT:
        raise Invalid("what is the model to be called? say --name")
    return name


def _holds_model(folder: Path) -> bool:
    try:
        stored_model(folder)
    except ModelUnavailable:
        return False
    except ModelRejected:
        return True  # a model is there; what is wrong with it is said when it is opened
    return True


def _parts(found: StoredModel) -> Iterator[Path]:
    """A model's own files and those its manifest or export speaks of, without what else lies in the folder."""
    yield from found.files()
    named = {FILE_NAME, "metadata.yaml"} if found.manifest or found.export else set()
    if found.manifest is not None:
        said = parse_manifest((found.folder / FILE_NAME).read_bytes())
        named |= {file.name for file in said.files} | {part for it in said.golden for part in (it.input, it.output)}
        named |= {said.labels_file} if said.labels_file else set()
    for file in sorted({file_inside(found.folder, name) for name in named} - set(found.files())):
        if file.is_file():
            yield file


def _all(folder: Path) -> Iterator[Path]:
    """Every plain file of a folder; raises ModelRejected for what is none, or lies outside."""
    inside = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if _is_ignored(path.relative_to(folder)) or (path.is_dir() and not path.is_symlink()):
            continue
        if not path.is_file() or not path.resolve().is_relative_to(inside):
            raise ModelRejected(f"{path}: no plain file, or a link out of the folder")
        yield path


def _is_ignored(path: Path) -> bool:
    """Whether it is what desktops and tools leave in folders: never part of a model."""
    return any(part.startswith(".") or part in _IGNORED for part in path.parts)


def _copy(source: Path, target: Path, progress: Progress | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as inside, target.open("xb") as out:
        while chunk := inside.read(_CHUNK):
            out.write(chunk)
            if progress:
                progress(len(chunk))


def _describe(folder: Path, name: str, version: str, wanted: Wanted, finish: Finish | None) -> None:
    """Check what is there against its manifest, then complete the manifest: every file with size and digest."""
    path = folder / FILE_NAME
    if not path.exists():
        path.write_text(manifest_text(_first_manifest(name, version, wanted)), encoding="utf-8")
    manifest = parse_manifest(path.read_bytes(), str(path))
    for listed in manifest.files:
        check_size(folder / listed.name, listed)
        check_digest(folder / listed.name, listed, file_digest(folder / listed.name))
    golden = finish(stored_model(folder)) if finish else ()
    described = msgspec.structs.replace(manifest, golden=[*manifest.golden, *golden])
    complete = _with_files(described, folder)
    if complete != manifest:  # one that is complete stays as it is, byte for byte
        path.write_text(manifest_text(complete), encoding="utf-8")


def _first_manifest(name: str, version: str, wanted: Wanted) -> Manifest:
    """Checked as any other."""
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        version=version,
        type=wanted.type or None,
        license=wanted.license,
        labels=list(wanted.labels) if wanted.labels else None,
        label_offset=wanted.label_offset,
        input=wanted.input,
        thresholds=wanted.thresholds,
    )
    return parse_manifest(manifest_text(manifest), "what was asked for")


def _with_files(manifest: Manifest, folder: Path) -> Manifest:
    known = {file.name: file for file in manifest.files}
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / FILE_NAME)
    files = [
        known.get(name) or File(name=name, sha256=file_digest(path), size=path.stat().st_size)
        for path in paths
        for name in [path.relative_to(folder).as_posix()]
    ]
    return msgspec.structs.replace(manifest, files=files)


def unpack(archive: Path, target: Path, limit: int, progress: Progress | None = None) -> None:
    """Unpack into the folder `target`, at most `limit` bytes; raises ModelRejected, OSError from the disk.

    What was unpacked before a refusal stays for the caller to remove.
    """
    extract = _unzip if archive.name.lower().endswith(".zip") else _untar
    budget = _Budget(archive, limit, progress)
    with _refusals(archive):
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
        path = PurePosixPath(name.replace("\\", "/"))  # as some programs of Windows write folders
        is_inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
        if not is_inside or not name.isprintable():
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
            if _is_ignored(path.relative_to(target)):
                continue
            if entry.is_dir() or entry.filename.endswith("\\"):
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
            if _is_ignored(path.relative_to(target)):
                continue
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
def _refusals(archive: Path) -> Iterator[None]:
    """Turn the libraries' errors about a broken archive into ModelRejected."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise ModelRejected(f"{archive}: damaged, or of a kind we cannot read: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ModelRejected(f"{archive}: two entries are named {Path(error.filename).name!r}") from error
    except RuntimeError as error:  # how zipfile says that there is a password
        raise ModelRejected(f"{archive}: {error}") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):
            raise
        raise ModelRejected(f"{archive}: damaged: {error}") from error  # bz2's, or a position before the file's start


def _move_up(folder: Path, inner: Path) -> None:
    """Replace the content of `folder` by that of `inner`, which is somewhere below it."""
    kept = folder / ".model"
    inner.rename(kept)
    for entry in folder.iterdir():
        if entry != kept:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for entry in kept.iterdir():
        entry.rename(folder / entry.name)
    kept.rmdir()
