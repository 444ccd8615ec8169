"""A version that is named and cannot be opened: never pulled, or missing."""

from dataclasses import dataclass

from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.errors import ModelRejected
from app_inference.models.catalogue import find
from app_inference.models.manifest import FILE_NAME, parse_manifest
from app_inference.models.repository import Repository

NOT_PULLED, MISSING = "not pulled", "missing"


@dataclass(frozen=True, slots=True)
class Absence:
    """The version that is not there, how so, and what there is to say or do about it."""

    model: str  # name@version
    state: str
    about: str


def absence(repository: Repository, name: str, version: str, error: EdgexError) -> Absence:
    """Of a version that has a folder, and could not be opened for this `error`.

    A manifest that says where all of its files come from is an offer as long as none of them is there.
    """
    folder = repository.root / name / version
    try:
        offered = parse_manifest((folder / FILE_NAME).read_bytes()).files
    except (OSError, ModelRejected):
        offered = []
    if offered and all(file.source and not (folder / file.name).exists() for file in offered):
        return _never_pulled(name, version)
    return Absence(f"{name}@{version}", MISSING, str(error))


def catalogued(wanted: str) -> Absence | None:
    """Of a name or name@version that the catalogue has and the disk has nothing of; None for any other."""
    try:
        manifest = find(wanted).manifest
    except NotFound:
        return None
    return _never_pulled(manifest.name, manifest.version)


def _never_pulled(name: str, version: str) -> Absence:
    return Absence(f"{name}@{version}", NOT_PULLED, f"edgex-models pull {name}")
