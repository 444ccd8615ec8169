"""`list`, `inspect` and `verify`: what is on this machine's disk."""

from typing import Any

import typer
from edgex_kit.errors import EdgexError, NotFound

from app_inference.cli import options as o
from app_inference.cli.gateway import Gateway
from app_inference.cli.outcome import REFUSED, command
from app_inference.cli.show import bytes_progress, megabytes, say, say_json, say_table, warn
from app_inference.decoders import DECODERS
from app_inference.errors import ModelRejected
from app_inference.manifest import FILE_NAME, parse_manifest
from app_inference.repository import Repository, StoredModel
from app_inference.retention import pinned

NOT_PULLED = "not pulled"


@command
def list_models(models_dir: o.ModelsDir = o.MODELS_DIR, url: o.Url = o.URL, as_json: o.AsJson = False) -> None:
    """The versions on disk, and which of them serve."""
    repository = Repository(models_dir)
    states, refused = _states(url), _refused(url)
    rows = [
        _row(repository, name, version, states or {}, refused)
        for name in repository.names()
        for version in repository.versions(name)
    ]
    if as_json:
        say_json(rows)
        return
    if not rows:
        say(f"no models in {models_dir}; `edgex-models pull` shows what can be had, `edgex-models add` takes yours")
        return
    shown = [
        (f"{row['name']}@{row['version']}", row["format"], row["task"], megabytes(row["bytes"]), row["digest"][:12],
         row["license"], row["state"])
        for row in rows
    ]  # fmt: skip
    say_table(("model", "format", "task", "size", "digest", "licence", "state"), shown, right=("size",))
    if states is None:
        warn(f"which of them serve is not known: no app-inference answers at {url}")


@command
def inspect(
    model: o.WantedModel,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    model_type: o.ModelType = "",
    as_json: o.AsJson = False,
) -> None:
    """What a model is: every key with who decided it, inputs, outputs, licence, digests. Nothing is compiled."""
    from app_inference.cli.inspection import inspection, say_inspection

    stored = Repository(models_dir).find(model)
    found = inspection(stored, model_type)
    if as_json:
        say_json(found)
    else:
        say_inspection(found)
    if found["error"]:
        raise typer.Exit(REFUSED)


@command
def verify(
    models: o.WantedModels = None,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    as_json: o.AsJson = False,
) -> None:
    """Read every file of every version again and compare it with its digest."""
    wanted, rows = _wanted(Repository(models_dir), models or [])
    total = sum(_listed_bytes(stored) for stored in wanted)
    with bytes_progress("verifying", total, is_quiet=as_json) as progress:
        rows += [_verified(stored, progress) for stored in wanted]
    bad = [row for row in rows if row["state"] in ("damaged", "missing")]
    if as_json:
        say_json(rows)
    else:
        say_table(
            ("model", "state", "digest", "about"),
            [(r["model"], r["state"], r["digest"][:12], r["about"]) for r in rows],
        )
    if bad:
        raise typer.Exit(REFUSED)


def versions_in_use(url: str, name: str) -> list[str]:
    """The versions of a model that a running app-inference serves, has served last, or tries; none where none runs."""
    used = (it.partition("@") for it in _states(url) or {})
    return [version for model, _, version in used if model == name]


def _wanted(repository: Repository, models: list[str]) -> tuple[list[StoredModel], list[dict[str, str]]]:
    """What is to be read, and a row for each version that cannot be: one that is not there keeps no other from it."""
    if models:
        return [it for model in models for it in _versions(repository, model)], []
    found: list[StoredModel] = []
    missing: list[dict[str, str]] = []
    for name, version in [(it, number) for it in repository.names() for number in repository.versions(it)]:
        try:
            found.append(repository.version(name, version))
        except EdgexError as error:
            state, about = _absent(repository, name, version, error)
            missing.append({"model": f"{name}@{version}", "state": state, "digest": "", "about": about})
    if not found and not missing:
        raise NotFound(f"no models in {repository.root}")
    return found, missing


def _absent(repository: Repository, name: str, version: str, error: EdgexError) -> tuple[str, str]:
    """State of a version that cannot be opened, and what there is to say about it.

    A manifest that says where all of its files come from is an offer as long as none of them is there.
    """
    folder = repository.root / name / version
    try:
        offered = parse_manifest((folder / FILE_NAME).read_bytes()).files
    except (OSError, ModelRejected):
        offered = []
    if offered and all(file.source and not (folder / file.name).exists() for file in offered):
        return NOT_PULLED, f"edgex-models pull {name}"
    return "missing", str(error)


def _versions(repository: Repository, model: str) -> list[StoredModel]:
    """All versions of a name, the one version of anything else."""
    if model in repository.names():
        return [repository.version(model, version) for version in repository.versions(model)]
    return [repository.find(model)]


def _verified(stored: StoredModel, progress: Any) -> dict[str, str]:
    name = f"{stored.name}@{stored.version}"
    try:
        digest = stored.digest(stored.check_files(progress))
    except EdgexError as error:
        return {"model": name, "state": "damaged", "digest": "", "about": str(error)}
    listed = len(stored.manifest.files) if stored.manifest else 0
    if not listed:
        return {"model": name, "state": "unlisted", "digest": digest, "about": "its manifest lists no digests"}
    return {"model": name, "state": "whole", "digest": digest, "about": f"{listed} file{'s' * (listed > 1)}"}


def _listed_bytes(stored: StoredModel) -> int:
    return sum(file.size for file in stored.manifest.files) if stored.manifest else 0


def _states(url: str) -> dict[str, list[str]] | None:
    """What versions do, by `name@version`; None where nobody answers."""
    try:
        return Gateway(url, "", "", "").versions()
    except EdgexError:
        return None


def _refused(url: str) -> dict[str, str]:
    try:
        return Gateway(url, "", "", "").quarantined()
    except EdgexError:
        return {}


def _task(stored: StoredModel) -> str:
    """As the manifest says, or as the type in it does."""
    if stored.manifest is None:
        return ""
    decoder = DECODERS.get(stored.manifest.type or "")
    return stored.manifest.task or (decoder.task if decoder else "")


def _row(
    repository: Repository, name: str, version: str, known: dict[str, list[str]], refused: dict[str, str]
) -> dict[str, Any]:
    key = f"{name}@{version}"
    states = sorted(set(known.get(key, [])))
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
        state, about = _absent(repository, name, version, error)
        return {**row, "state": f"{state}: {about}"}
    except OSError as error:  # removed while it was looked at
        states.append(f"missing: {error}")
    return {**row, "state": ", ".join(states)}
