"""One version of a model on disk: its files, what lies beside them, their digests."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.manifest import FILE_NAME, File, Manifest, parse_labels, parse_manifest, version_key
from app_inference.models.metadata import triton, ultralytics
from app_inference.models.metadata.exports import Export

SUFFIXES = (".xml", ".onnx", ".tflite", ".pb", ".pdmodel")
_BESIDE = {".xml": ".bin", ".pdmodel": ".pdiparams"}  # where a format keeps its weights
_SAVED_MODEL = "saved_model.pb"
_SAVED_FOLDERS = ("variables", "assets", "assets.extra")
_TRITON_SAVED = "model.savedmodel"
_UNVERSIONED = "0.0.0"
_CHUNK = 1 << 20

Progress = Callable[[int], None]  # is told of each piece: so many bytes


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One version of a model on disk."""

    name: str
    version: str
    path: Path  # what OpenVINO is to read: a file, or the folder of a TensorFlow SavedModel
    manifest: Manifest | None  # its labels_file already read into labels
    folder: Path  # where the manifest is, or would be
    export: Export | None = None

    def files(self) -> tuple[Path, ...]:
        """Every file that makes up the model: graph and weights."""
        if self.path.is_dir():
            inside = (file for name in _SAVED_FOLDERS for file in (self.path / name).rglob("*") if file.is_file())
            return tuple(sorted([self.path / _SAVED_MODEL, *inside]))
        return (self.path, *_weights(self.path))

    def size(self) -> int:
        """Bytes of graph and weights."""
        return sum(file.stat().st_size for file in self.files())

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
        """What tells this version from any other for an update: `digest`, all that is said of it, its golden pictures.

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
        """The digests of the listed files, all of them as listed.

        Raises ModelRejected when a file is not what the manifest lists, ModelUnavailable when it is not there.
        """
        found: dict[Path, str] = {}
        for listed in self.manifest.files if self.manifest else ():
            file = self.folder / listed.name
            check_size(file, listed)
            found[file] = file_digest(file, progress)
            check_digest(file, listed, found[file])
        return found

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
    export = _export_beside(folder)
    if (folder / FILE_NAME).is_file():
        manifest = load_manifest(folder / FILE_NAME)
        return StoredModel(manifest.name, manifest.version, file, manifest, folder, export)
    if is_version(folder.name):
        return StoredModel(folder.parent.name, folder.name, file, None, folder, export)
    return StoredModel(file.stem, _UNVERSIONED, file, None, folder, export)


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


def is_version(text: str) -> bool:
    """Whether a folder of this name holds a version."""
    try:
        version_key(text)
    except ModelRejected:
        return False
    return True


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
    found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and file.is_file()]
    named = [file for file in found if file.stem == "model"] or found
    if not named:
        raise ModelUnavailable(f"{path}: no model in this folder; a model ends in {', '.join(SUFFIXES)}")
    if len(named) > 1:
        raise ModelRejected(f"{path}: {len(named)} models ({', '.join(f.name for f in named)}); name one `model`")
    return named[0]


def _weights(path: Path) -> list[Path]:
    """What a graph's file does not hold itself; ONNX keeps weights of more than 2 GB in files of any such name."""
    if path.suffix.lower() == ".onnx":
        beside = {*path.parent.glob(f"{path.name}?data*"), *path.parent.glob(f"{path.stem}.data")}
    else:
        beside = {path.with_suffix(_BESIDE[path.suffix.lower()])} if path.suffix.lower() in _BESIDE else set()
    return sorted(file for file in beside if file.is_file())


def _export_beside(folder: Path) -> Export | None:
    metadata, config = folder / ultralytics.FILE_NAME, folder.parent / triton.FILE_NAME
    try:
        if metadata.is_file():
            return ultralytics.export_from_yaml(metadata.read_bytes(), str(metadata))
        if config.is_file() and folder.name.isdigit():
            return triton.export_from_config(config.read_text(encoding="utf-8"), config)
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelRejected(f"{config}: not UTF-8 text") from error
    return None
