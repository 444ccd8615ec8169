"""`list`: the versions on this machine's disk; and why one of them cannot be opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgex_kit.wire.errors import EdgexError, NotFound
from rich.filesize import decimal

from app_inference.cli import command as o
from app_inference.cli.client import Client, quarantined, roles
from app_inference.cli.output import say, say_json, say_table, warn
from app_inference.decoders import DECODERS
from app_inference.errors import ModelRejected
from app_inference.models.catalogue import find
from app_inference.models.manifest import FILE_NAME, parse_manifest
from app_inference.models.repository import Repository, StoredModel
from app_inference.models.retention import pinned

NOT_PULLED, MISSING = "not pulled", "missing"
_NOBODY: Mapping[str, Any] = {"models": ()}  # the status where no app-inference answers


@dataclass(frozen=True, slots=True)
class Absence:
    """A version that cannot be opened."""

    model: str  # name@version
    state: str  # NOT_PULLED or MISSING
    about: str  # the command that pulls it, or the error


@o.command
def list_models(models_dir: o.ModelsDir = o.MODELS_DIR, url: o.Url = o.URL, as_json: o.AsJson = False) -> None:
    """List the versions on disk, and which of them serve."""
    repository = Repository(models_dir)
    status = _status(url)
    rows = [
        _row(repository, name, version, status) for name in repository.names() for version in repository.versions(name)
    ]
    if as_json:
        say_json(rows)
        return
    if not rows:
        say(f"no models in {models_dir}; `edgex-models pull` lists public ones, `edgex-models add` adds yours")
        return
    shown = [
        (f"{row['name']}@{row['version']}", row["format"], row["task"], decimal(row["bytes"]), row["digest"][:12],
         row["license"], row["state"])
        for row in rows
    ]  # fmt: skip
    say_table(("model", "format", "task", "size", "digest", "licence", "state"), shown, right=("size",))
    if status is _NOBODY:
        warn(f"which of them serve is not known: no app-inference answers at {url}")


def versions_in_use(url: str, name: str) -> list[str]:
    """The versions of a model that a running app-inference serves, served before, or tries; none without one."""
    used = (it.partition("@") for it in roles(_status(url)))
    return [version for model, _, version in used if model == name]


def absence(repository: Repository, name: str, version: str, error: EdgexError) -> Absence:
    """Why a version that has a folder cannot be opened; opening it raised `error`.

    It was never pulled if its manifest has a source for every file and none of the files is there.
    """
    folder = repository.root / name / version
    try:
        listed = parse_manifest((folder / FILE_NAME).read_bytes()).files
    except (OSError, ModelRejected):
        listed = []
    if listed and all(file.source and not (folder / file.name).exists() for file in listed):
        return _not_pulled(name, version)
    return Absence(f"{name}@{version}", MISSING, str(error))


def in_catalogue(wanted: str) -> Absence | None:
    """A name or name@version that only the catalogue has; None for any other."""
    try:
        manifest = find(wanted).manifest
    except NotFound:
        return None
    return _not_pulled(manifest.name, manifest.version)


def _not_pulled(name: str, version: str) -> Absence:
    return Absence(f"{name}@{version}", NOT_PULLED, f"edgex-models pull {name}")


def _status(url: str) -> Mapping[str, Any]:
    try:
        return Client(url).status()
    except EdgexError:
        return _NOBODY


def _task(stored: StoredModel) -> str:
    """From the manifest, or from the type in it."""
    if stored.manifest is None:
        return ""
    decoder = DECODERS.get(stored.manifest.type or "")
    return stored.manifest.task or (decoder.task if decoder else "")


def _row(repository: Repository, name: str, version: str, status: Mapping[str, Any]) -> dict[str, Any]:
    key, refused = f"{name}@{version}", quarantined(status)
    states = sorted(set(roles(status).get(key, ())))
    if key in refused:
        states.append(f"quarantined: {refused[key]}".removesuffix(": "))
    if version in pinned(repository, name):
        states.append("pinned")
    row = {"name": name, "version": version, "format": "", "task": "", "bytes": 0, "digest": "", "license": ""}
    try:
        stored = repository.version(name, version)
        licence = stored.manifest.license if stored.manifest else ""
        row |= {
            "format": stored.path.suffix.removeprefix(".") or "saved model",
            "task": _task(stored),
            "bytes": stored.size(),
            "digest": stored.listed_digest(),
            "license": licence or (stored.export.license if stored.export else ""),
        }
    except EdgexError as error:
        gone = absence(repository, name, version, error)
        return {**row, "state": f"{gone.state}: {gone.about}"}
    except OSError as error:  # it was removed meanwhile
        states.append(f"missing: {error}")
    return {**row, "state": ", ".join(states)}
