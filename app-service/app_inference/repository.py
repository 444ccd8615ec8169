"""Model versions on disk: `models/<name>/<version>/` holding the model's files and, usually, its `manifest.yaml`."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from edgex_kit.errors import NotFound

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.manifest import FILE_NAME, Manifest, parse_labels, parse_manifest, version_key

SUFFIXES = (".xml", ".onnx", ".tflite", ".pb", ".pdmodel")
_BESIDE = {".xml": ".bin", ".pdmodel": ".pdiparams"}  # where a format keeps its weights
_SAVED_MODEL = "saved_model.pb"
_UNVERSIONED = "0.0.0"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version of a model on disk."""

    name: str
    version: str
    path: Path  # what OpenVINO is to read: a file, or the folder of a TensorFlow SavedModel
    manifest: Manifest | None  # its labels_file already read into labels

    def files(self) -> tuple[Path, ...]:
        """Every file that makes up the model, the manifest apart."""
        if self.path.is_dir():
            return tuple(sorted(path for path in self.path.rglob("*") if path.is_file()))
        beside = self.path.with_suffix(_BESIDE.get(self.path.suffix.lower(), ""))
        return (self.path, beside) if beside != self.path and beside.is_file() else (self.path,)

    def digest(self) -> str:
        """sha256: of the file where it is one, else of the lines `sha256sum` writes for the sorted files."""
        files = self.files()
        if len(files) == 1:
            return file_digest(files[0])
        folder = self.path if self.path.is_dir() else self.path.parent
        lines = "".join(f"{file_digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def check_files(self) -> None:
        """Raise ModelRejected when a file is not what the manifest lists, ModelUnavailable when it is not there."""
        for listed in self.manifest.files if self.manifest else ():
            file = (self.path if self.path.is_dir() else self.path.parent) / listed.name
            if not file.is_file():
                raise ModelUnavailable(f"{file}: listed in {FILE_NAME}, but there is no such file")
            if file.stat().st_size != listed.size:
                raise ModelRejected(f"{file}: {file.stat().st_size} bytes, {FILE_NAME} says {listed.size}")
            found = file_digest(file)
            if found != listed.sha256:
                raise ModelRejected(f"{file}: sha256 is {found[:12]}…, {FILE_NAME} says {listed.sha256[:12]}…")


@dataclass(frozen=True, slots=True)
class Repository:
    """The models under one folder."""

    root: Path

    def names(self) -> list[str]:
        """Every model that has at least one version."""
        return sorted(folder.name for folder in _folders(self.root) if self.versions(folder.name))

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the newest first."""
        found = [folder.name for folder in _folders(self.root / name) if _is_version(folder.name)]
        return sorted(found, key=version_key, reverse=True)

    def newest(self, name: str) -> StoredModel:
        """The newest version that is no pre-release, or the newest of those; raises NotFound."""
        versions = self.versions(name)
        if not versions:
            raise NotFound(f"no model {name!r} in {self.root}; there are {', '.join(self.names()) or 'none'}")
        released = [version for version in versions if version_key(version)[3]]
        return self.version(name, (released or versions)[0])

    def version(self, name: str, version: str) -> StoredModel:
        """One version of a model; raises NotFound, or what `stored_model` raises."""
        if version not in self.versions(name):
            there = ", ".join(self.versions(name)) or "none"
            raise NotFound(f"no version {version!r} of model {name!r} in {self.root}; there are {there}")
        return stored_model(self.root / name / version)

    def find(self, wanted: str) -> StoredModel:
        """What a user means: a model file, a version's folder, a model's folder, `name` or `name@version`."""
        path = Path(wanted).expanduser()
        if path.is_dir() and (self.is_model_folder(path)):
            return Repository(path.parent).newest(path.name)
        if path.exists():
            return stored_model(path)
        name, _, version = wanted.partition("@")
        if "/" in wanted or path.suffix.lower() in SUFFIXES:
            raise ModelUnavailable(f"{wanted}: no such file or folder")
        return self.version(name, version) if version else self.newest(name)

    @staticmethod
    def is_model_folder(path: Path) -> bool:
        """Whether `path` holds versions, and is none itself."""
        return any(_is_version(folder.name) for folder in _folders(path)) and not (path / FILE_NAME).exists()


def stored_model(path: Path) -> StoredModel:
    """The model at `path`: its file, a SavedModel's folder, or the folder of a version.

    Raises ModelUnavailable where nothing is, ModelRejected for a manifest that is wrong.
    """
    path = path.absolute()  # links are not followed: the manifest lies beside the link
    file = _model_file(path)
    folder = path if path.is_dir() else path.parent
    manifest = load_manifest(folder / FILE_NAME) if (folder / FILE_NAME).is_file() else None
    if manifest is not None:
        return StoredModel(manifest.name, manifest.version, file, manifest)
    if _is_version(folder.name):
        return StoredModel(folder.parent.name, folder.name, file, None)
    return StoredModel(file.stem, _UNVERSIONED, file, None)


def load_manifest(path: Path) -> Manifest:
    """The manifest at `path` with its labels_file read in; raises ModelRejected or ModelUnavailable."""
    try:
        manifest = parse_manifest(path.read_bytes(), str(path))
        if manifest.labels_file is None:
            return manifest
        labels = parse_labels((path.parent / manifest.labels_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelRejected(f"{path.parent / (manifest.labels_file or '')}: not UTF-8 text") from error
    return msgspec.structs.replace(manifest, labels=list(labels), labels_file=None)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex; raises ModelUnavailable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from error


def _model_file(path: Path) -> Path:
    if not path.exists():
        raise ModelUnavailable(f"{path}: no such file or folder")
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ModelRejected(f"{path}: suffix {path.suffix!r} is none of {', '.join(SUFFIXES)}")
        return path
    if (path / _SAVED_MODEL).is_file():
        return path
    found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and file.is_file()]
    named = [file for file in found if file.stem == "model"] or found
    if not named:
        raise ModelUnavailable(f"{path}: no model in this folder; a model ends in {', '.join(SUFFIXES)}")
    if len(named) > 1:
        raise ModelRejected(f"{path}: {len(named)} models ({', '.join(f.name for f in named)}); name one `model`")
    return named[0]


def _folders(path: Path) -> Iterator[Path]:
    return (folder for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else iter(())


def _is_version(text: str) -> bool:
    try:
        version_key(text)
    except ModelRejected:
        return False
    return True
