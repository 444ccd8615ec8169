"""Which versions go when there are many: the oldest, never one that serves, could serve again, or is pinned."""

from collections.abc import Callable, Collection
from pathlib import Path

from edgex_kit.wire.errors import Conflict, NotFound

from app_inference.models.repository import Repository
from app_inference.models.staging import remove

PIN = ".pin"  # `<version>.pin` beside a version's folder: the folder itself never changes


def prune(repository: Repository, name: str, keep: int, spare: Callable[[], Collection[str]] = tuple) -> list[str]:
    """Remove all but the newest `keep` versions of a model; those removed.

    `spare` says which versions stay and do not count: the active one, the one before, a candidate. Pinned ones as well.
    It is asked again before each removal, so that one wanted meanwhile stays.
    """
    kept = {*spare(), *pinned(repository, name)}
    free = [version for version in repository.versions(name) if version not in kept]
    gone = []
    for version in free[max(0, keep) :]:
        if version not in spare():
            remove(repository.root / name / version)
            gone.append(version)
    return gone


def drop(repository: Repository, name: str, version: str, spare: Collection[str] = ()) -> None:
    """Remove one version; raises NotFound, and Conflict for one that is in use, pinned or has an alias."""
    if version not in repository.versions(name):
        raise NotFound(f"no version {version!r} of model {name!r} in {repository.root}")
    if version in spare:
        raise Conflict(f"{name}@{version} is in use")
    if version in pinned(repository, name):
        raise Conflict(f"{name}@{version} is pinned")
    meant = sorted(alias for alias, it in repository.aliases(name).items() if it == version)
    if meant:
        raise Conflict(f"{name}@{version} is what '{meant[0]}' stands for; move that alias first")
    folder = repository.root / name
    remove(folder / version)
    if not any(folder.iterdir()):
        folder.rmdir()


def pin(repository: Repository, name: str, version: str, *, is_pinned: bool = True) -> None:
    """Keep a version whatever comes, or no longer; raises NotFound."""
    if version not in repository.versions(name):
        raise NotFound(f"no version {version!r} of model {name!r} in {repository.root}")
    mark = repository.root / name / f"{version}{PIN}"
    if is_pinned:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def pinned(repository: Repository, name: str) -> set[str]:
    """The versions that are pinned."""
    folder: Path = repository.root / name
    return {mark.name.removesuffix(PIN) for mark in folder.glob(f"*{PIN}")}
