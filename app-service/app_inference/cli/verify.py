"""`verify`: compare every file on this machine's disk with its digest."""

from collections.abc import Callable
from dataclasses import dataclass

import typer
from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.cli import command as o
from app_inference.cli.list import MISSING, NOT_PULLED, Absence, absence, in_catalogue
from app_inference.cli.output import bytes_progress, complain, say_json, say_table
from app_inference.models.repository import Repository, StoredModel

DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Scope:
    """The versions to read, and those that cannot be opened; one of the latter does not stop the others."""

    stored: tuple[StoredModel, ...] = ()
    absent: tuple[Absence, ...] = ()

    @property
    def is_not_pulled(self) -> bool:
        """Whether none of it was ever pulled."""
        return not self.stored and all(it.state == NOT_PULLED for it in self.absent)


@o.command
def verify(
    models: o.WantedModels = None,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    as_json: o.AsJson = False,
) -> None:
    """Read every file of every version again and compare it with its digest."""
    repository = Repository(models_dir)
    scopes = [_named(repository, model) for model in models] if models else [_all(repository)]
    stored = [it for scope in scopes for it in scope.stored]
    rows = [_absent(it) for scope in scopes for it in scope.absent]
    with bytes_progress("verifying", sum(map(_listed_bytes, stored)), is_quiet=as_json) as progress:
        rows += [_verified(it, progress) for it in stored]
    if as_json:
        say_json(rows)
    else:
        _say(rows)
    # A model that was named has to be here; without names, what was never pulled is not part of the question.
    absent = [it for scope in scopes if models and scope.is_not_pulled for it in scope.absent]
    for it in absent:
        complain(f"{it.model} is not pulled yet: {it.about}")
    if absent or any(row["state"] in (DAMAGED, MISSING) for row in rows):
        raise typer.Exit(o.REFUSED)


def _named(repository: Repository, model: str) -> Scope:
    """All versions of a name, or the one version that is meant. Raises what `Repository.find` raises."""
    name, _, version = model.partition("@")
    is_known = name in repository.names()
    try:
        if is_known and version:
            return _versions(repository, [(name, repository.chosen(name, version))])
        if is_known:
            return _versions(repository, [(name, it) for it in repository.versions(name)])
        return Scope((repository.find(model),))
    except NotFound:
        offer = in_catalogue(model)
        if offer is None:
            raise
        return Scope(absent=(offer,))


def _all(repository: Repository) -> Scope:
    scope = _versions(repository, [(it, number) for it in repository.names() for number in repository.versions(it)])
    if not scope.stored and not scope.absent:
        raise NotFound(f"no models in {repository.root}")
    return scope


def _versions(repository: Repository, wanted: list[tuple[str, str]]) -> Scope:
    stored: list[StoredModel] = []
    absent: list[Absence] = []
    for name, version in wanted:
        try:
            stored.append(repository.version(name, version))
        except EdgexError as error:
            absent.append(absence(repository, name, version, error))
    return Scope(tuple(stored), tuple(absent))


def _absent(it: Absence) -> dict[str, str]:
    return {"model": it.model, "state": it.state, "digest": "", "about": it.about}


def _verified(stored: StoredModel, progress: Callable[[int], None]) -> dict[str, str]:
    name = f"{stored.name}@{stored.version}"
    try:
        digest = stored.digest(stored.check_files(progress))
    except EdgexError as error:
        return {"model": name, "state": DAMAGED, "digest": "", "about": str(error)}
    listed = len(stored.manifest.files) if stored.manifest else 0
    if not listed:
        return {"model": name, "state": "unlisted", "digest": digest, "about": "its manifest lists no digests"}
    return {"model": name, "state": "whole", "digest": digest, "about": f"{listed} file{'s' * (listed > 1)}"}


def _listed_bytes(stored: StoredModel) -> int:
    return sum(file.size for file in stored.manifest.files) if stored.manifest else 0


def _say(rows: list[dict[str, str]]) -> None:
    shown = [(row["model"], row["state"], row["digest"][:12], row["about"]) for row in rows]
    say_table(("model", "state", "digest", "about"), shown)
