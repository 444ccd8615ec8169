"""Model versions on disk: `models/<name>/<version>/` holding the model's files and, usually, its `manifest.yaml`.

Version folders of one number, as OpenVINO Model Server and Triton have them, are versions too. A version is immutable:
its files are described by size and sha256 in its manifest, and checked whenever it is loaded.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec
from edgex_kit.wire.errors import NotFound

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.manifest import FILE_NAME, File, Manifest, parse_labels, parse_manifest
from app_inference.models.metadata import exports
from app_inference.models.metadata.exports import Export
from app_inference.models.metadata.onnx import external_locations
from app_inference.models.versions import check_alias, chosen, is_version, newest, parse_version

SUFFIXES = (".xml", ".onnx", ".tflite", ".pb", ".pdmodel")
ALIAS = ".alias"  # `<alias>.alias` beside the versions: the version it stands for
_BESIDE = {".xml": ".bin", ".pdmodel": ".pdiparams"}  # where a format keeps its weights
_SAVED_MODEL = "saved_model.pb"
_SAVED_FOLDERS = ("variables", "assets", "assets.extra")
_TRITON_SAVED = "model.savedmodel"
_UNVERSIONED = "0.0.0"
_CHUNK = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_HEAD = 4096  # bytes of a file that say what it is

Progress = Callable[[int], None]  # called with the bytes of each piece


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version of a model on disk."""

    name: str
    version: str
    path: Path  # what OpenVINO is to read: a file, or the folder of a TensorFlow SavedModel
    manifest: Manifest | None  # its labels_file already read into labels
    folder: Path  # where the manifest is, or would be
    export: Export | None = None
    beside: tuple[Path, ...] = ()  # files that describe it and were read: labels, an export's metadata
    requires_digests: bool = False  # every file must be listed in the manifest (`Inference.RequireDigests`)

    def files(self) -> tuple[Path, ...]:
        """Every file that OpenVINO reads: graph and weights, whether they exist or not. Raises ModelRejected."""
        if self.path.is_dir():
            inside = (file for name in _SAVED_FOLDERS for file in (self.path / name).rglob("*") if file.is_file())
            return tuple(sorted([self.path / _SAVED_MODEL, *inside]))
        return (self.path, *_weights(self.path))

    def size(self) -> int:
        """Bytes of graph and weights."""
        return sum(file.stat().st_size for file in self.files() if file.exists())

    def digest(self, known: Mapping[Path, str] | None = None) -> str:
        """sha256: of the file where it is one, else of the lines `sha256sum` writes for the sorted files.

        `known` are digests that were taken already. Raises ModelUnavailable.
        """
        files, known = self.files(), known or {}
        if len(files) == 1:
            return known.get(files[0]) or file_digest(files[0])
        folder = self.path if self.path.is_dir() else self.path.parent
        lines = (f"{known.get(file) or file_digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def identity(self, digest: str) -> str:
        """What distinguishes this version from any other for an update: `digest`, its description, its golden pictures.

        A corrected manifest is another version, though its weights are the same. Raises ModelUnavailable.
        """
        golden = self.manifest.golden if self.manifest else []
        pictures = [file_digest(self.folder / name) for one in golden for name in (one.input, one.output)]
        said = msgspec.json.encode([digest, self.manifest, repr(self.export), *pictures], order="sorted")
        return hashlib.sha256(said).hexdigest()

    def listed_digest(self) -> str:
        """`digest` by what the manifest lists, nothing read; empty where it does not list every file."""
        listed = {self.folder / file.name: file.sha256 for file in self.manifest.files} if self.manifest else {}
        return self.digest(listed) if set(self.files()) <= listed.keys() else ""

    def check_files(self, progress: Progress | None = None) -> dict[Path, str]:
        """The digests of the listed files, all of them as listed, with every file that OpenVINO reads among them.

        Raises ModelRejected when a file is not what the manifest lists or a file that is read is not listed,
        ModelUnavailable when one does not exist.
        """
        self.check_present()
        found: dict[Path, str] = {}
        for listed in self.manifest.files if self.manifest else ():
            file = self.folder / listed.name
            check_size(file, listed)
            found[file] = file_digest(file, progress)
            check_digest(file, listed, found[file])
        self._check_listed()
        return found

    def check_present(self) -> None:
        """Raise ModelUnavailable for a file of `files` that does not exist, ModelRejected for another thing."""
        for file in self.files():
            if not file.is_file():
                raise ModelUnavailable(f"{file}: no such file, and {self.path.name} reads its weights from it")
            _check_signature(file)

    def _check_listed(self) -> None:
        listed = {self.folder / file.name for file in self.manifest.files} if self.manifest else set()
        golden = self.manifest.golden if self.manifest else []
        read = [*self.files()] if listed or self.requires_digests else []
        if self.requires_digests:
            read += [*self.beside, *(self.folder / name for one in golden for name in (one.input, one.output))]
        unlisted = [str(file.relative_to(self.folder)) for file in read if file not in listed]
        if unlisted:
            raise ModelRejected(
                f"{self.folder}: {', '.join(unlisted[:4])} not listed with sha256 under `files` in {FILE_NAME}"
                + (", which Inference.RequireDigests requires" if self.requires_digests else "")
            )

    def verified_digest(self, progress: Progress | None = None) -> str:
        """`digest` after `check_files`, each file read once."""
        return self.digest(self.check_files(progress))


def stored_model(path: Path) -> StoredModel:
    """The model at `path`: its file, a SavedModel's folder, or the folder of a version.

    Raises ModelUnavailable where nothing is, ModelRejected for a manifest that is wrong.
    """
    path = path.absolute()  # links are not followed: the manifest lies beside the link
    file = _model_file(path)
    folder = path if path.is_dir() else path.parent
    export, beside = _export_beside(folder)
    if (folder / FILE_NAME).is_file():
        manifest, labels = load_manifest(folder / FILE_NAME)
        read = (*beside, *labels)
        return StoredModel(manifest.name, manifest.version, file, manifest, folder, export, read)
    if is_version(folder.name):
        return StoredModel(folder.parent.name, folder.name, file, None, folder, export)
    return StoredModel(file.stem, _UNVERSIONED, file, None, folder, export)


def load_manifest(path: Path) -> tuple[Manifest, tuple[Path, ...]]:
    """The manifest at `path` with its labels_file read in, and that file; raises ModelRejected or ModelUnavailable."""
    try:
        manifest = parse_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error
    if manifest.labels_file is None:
        return manifest, ()
    file = file_inside(path.parent, manifest.labels_file)
    return msgspec.structs.replace(manifest, labels=list(parse_labels(_text(file))), labels_file=None), (file,)


def file_inside(folder: Path, name: str) -> Path:
    """A file of a version's folder; raises ModelRejected for a link that leads out of it."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelRejected(f"{file}: a link out of the model's folder")
    return file


def _text(path: Path) -> str:
    """A UTF-8 file's text; raises ModelRejected or ModelUnavailable."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelRejected(f"{path}: not UTF-8 text") from error


def file_digest(path: Path, progress: Progress | None = None) -> str:
    """sha256 of a file's bytes, in hex; raises ModelUnavailable."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                if progress:
                    progress(len(chunk))
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from error
    return digest.hexdigest()


def check_size(file: Path, listed: File) -> None:
    """Raise ModelUnavailable when the file is not there, ModelRejected when its size is another."""
    if not file.is_file():
        raise ModelUnavailable(f"{file}: listed in {FILE_NAME}, but there is no such file")
    if file.stat().st_size != listed.size:
        raise ModelRejected(f"{file}: {file.stat().st_size} bytes, {FILE_NAME} says {listed.size}")


def check_digest(file: Path, listed: File, found: str) -> None:
    """Raise ModelRejected when the digest is another than the listed one."""
    if found != listed.sha256:
        raise ModelRejected(f"{file}: sha256 is {found[:12]}…, {FILE_NAME} says {listed.sha256[:12]}…")


class ModelStore(Protocol):
    """Where model versions come from: a folder, the catalogue."""

    def available(self) -> dict[str, list[str]]:
        """Every model with its versions."""

    def fetch(self, name: str, version: str, progress: Progress | None = None) -> StoredModel:
        """A version on this machine's disk, every file verified. Raises NotFound, ModelRejected, ModelUnavailable."""


@dataclass(frozen=True, slots=True)
class Repository:
    """The models under one folder."""

    root: Path
    requires_digests: bool = False  # versions with a file that no manifest lists are refused

    def available(self) -> dict[str, list[str]]:
        """Every model with its versions."""
        return {name: self.versions(name) for name in self.names()}

    def fetch(self, name: str, version: str, progress: Progress | None = None) -> StoredModel:
        """A version whose files are as its manifest lists them; raises as `version` and `check_files`."""
        stored = self.version(name, version)
        stored.check_files(progress)
        return stored

    def names(self) -> list[str]:
        """Every model that has at least one version."""
        return sorted(folder.name for folder in _folders(self.root) if self.versions(folder.name))

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the newest first."""
        found = [folder.name for folder in _folders(self.root / name) if is_version(folder.name)]
        return sorted(found, key=parse_version, reverse=True)

    def newest(self, name: str) -> StoredModel:
        """The newest version that is no pre-release, or the newest of those; raises NotFound."""
        version = newest(self.versions(name))
        if version is None:
            raise NotFound(f"no model {name!r} in {self.root}; there are {', '.join(self.names()) or 'none'}")
        return self.version(name, version)

    def version(self, name: str, version: str) -> StoredModel:
        """One version of a model; raises NotFound, or what `stored_model` raises."""
        if version not in self.versions(name):
            there = ", ".join(self.versions(name)) or "none"
            raise NotFound(f"no version {version!r} of model {name!r} in {self.root}; there are {there}")
        return self._open(self.root / name / version)

    def chosen(self, name: str, wanted: str) -> str:
        """The version of a model that a number, `latest`, an alias or a range means; raises NotFound, Invalid."""
        try:
            return chosen(wanted, self.versions(name), self.aliases(name))
        except NotFound as error:
            raise NotFound(f"model {name!r} in {self.root}: {error}") from error

    def aliases(self, name: str) -> dict[str, str]:
        """What each alias of a model stands for."""
        found: dict[str, str] = {}
        for mark in sorted((self.root / name).glob(f"*{ALIAS}")):
            with contextlib.suppress(FileNotFoundError):  # removed while they are read
                found[mark.name.removesuffix(ALIAS)] = mark.read_text(encoding="utf-8").strip()
        return found

    def point(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version from now on; raises NotFound, Invalid."""
        check_alias(alias)
        self.version(name, version)
        mark = self.root / name / f"{alias}{ALIAS}"
        part = mark.with_name(f".{mark.name}")
        part.write_text(f"{version}\n", encoding="utf-8")
        part.replace(mark)

    def aliased(self, name: str, alias: str) -> str:
        """The version that an alias stands for; raises NotFound."""
        aliases = self.aliases(name)
        if alias not in aliases:
            there = ", ".join(aliases) or "none"
            raise NotFound(f"no alias {alias!r} of model {name!r} in {self.root}; there are {there}")
        return aliases[alias]

    def forget(self, name: str, alias: str) -> None:
        """Let an alias stand for nothing from now on; raises NotFound."""
        self.aliased(name, alias)
        (self.root / name / f"{alias}{ALIAS}").unlink(missing_ok=True)

    def find(self, wanted: str) -> StoredModel:
        """What a user means: a model file, a version's folder, a model's folder, `name` or `name@version`.

        A version may be an alias or a range (see `models.versions`).
        """
        path = Path(wanted).expanduser()
        if path.is_dir() and (self.is_model_folder(path)):
            return replace(self, root=path.parent).newest(path.name)
        if path.exists():
            return self._open(path)
        name, _, version = wanted.partition("@")
        if "/" in wanted or path.suffix.lower() in SUFFIXES:
            raise ModelUnavailable(f"{wanted}: no such file or folder")
        if not version:
            return self.newest(name)
        return self.version(name, version if is_version(version) else self.chosen(name, version))

    def _open(self, path: Path) -> StoredModel:
        return replace(stored_model(path), requires_digests=self.requires_digests)

    @staticmethod
    def is_model_folder(path: Path) -> bool:
        """Whether `path` holds versions, and is none itself."""
        return any(is_version(folder.name) for folder in _folders(path)) and not (path / FILE_NAME).exists()


def _check_signature(path: Path) -> None:
    """Raise ModelRejected for a file that cannot be what its suffix says, by its first bytes.

    OpenVINO would try every reader it has on it, log each failure, and name no cause.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head and path.suffix in SUFFIXES:
        raise ModelRejected(f"{path}: the file is empty")
    if head.startswith(_LFS):
        raise ModelRejected(f"{path}: this is a Git LFS pointer, not the file itself: run `git lfs pull`")
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise ModelRejected(f"{path}: this is an HTML page, as a download that failed leaves it, not the file itself")
    if path.suffix == ".tflite" and head[4:8] != b"TFL3":
        raise ModelRejected(f"{path}: no TFLite file: it lacks the mark TFL3 at its start")
    if path.suffix == ".xml" and b"<net" not in head:
        raise ModelRejected(f"{path}: no OpenVINO IR: an XML file with <net> expected")


def _folders(path: Path) -> Iterator[Path]:
    """Folders in a folder; one whose name starts with a dot is on its way in or out."""
    inside = path.iterdir() if path.is_dir() else ()
    return (folder for folder in inside if folder.is_dir() and not folder.name.startswith("."))


def _model_file(path: Path) -> Path:
    if not path.exists():
        raise ModelUnavailable(f"{path}: no such file or folder")
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ModelRejected(f"{path}: suffix {path.suffix!r} is none of {', '.join(SUFFIXES)}")
        return path
    for folder in (path, path / _TRITON_SAVED):
        if (folder / _SAVED_MODEL).is_file():
            return folder
    found = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    named = [file for file in found if file.stem == "model"] or found
    if not named:
        raise ModelUnavailable(f"{path}: no model in this folder; a model ends in {', '.join(SUFFIXES)}")
    if len(named) > 1:
        raise ModelRejected(f"{path}: {len(named)} models ({', '.join(f.name for f in named)}); name one `model`")
    return named[0]


def _weights(path: Path) -> list[Path]:
    """The files with what a graph's file does not contain itself: those an ONNX names, that of its name for others."""
    if path.suffix.lower() != ".onnx":
        beside = path.with_suffix(_BESIDE.get(path.suffix.lower(), path.suffix))
        return [beside] if beside != path and beside.is_file() else []
    try:
        locations = external_locations(path)
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from error
    for location in locations:
        if not location or PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
            raise ModelRejected(f"{path}: its weights are at {location!r}, outside the model's folder")
    return sorted({path.parent / location for location in locations} - {path})


def _export_beside(folder: Path) -> tuple[Export | None, tuple[Path, ...]]:
    """What the producer's file in or above a version's folder says, and that file where it is in the folder."""
    metadata, config = folder / exports.ULTRALYTICS_FILE, folder.parent / exports.TRITON_FILE
    if metadata.is_file():
        export = exports.export_from_yaml(_text(metadata), str(metadata))
        return export, (metadata,) if export else ()
    if config.is_file() and folder.name.isdigit():
        return exports.export_from_config(_text(config), config), ()
    return None, ()
