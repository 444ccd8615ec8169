"""`list` and `inspect`: what is on this machine's disk."""

from typing import Any

import typer
from edgex_kit.wire.errors import EdgexError
from rich.filesize import decimal

from app_inference.cli import options as o
from app_inference.cli.gateway import Gateway
from app_inference.cli.missing import absence
from app_inference.cli.outcome import REFUSED, command
from app_inference.cli.output import say, say_json, say_table, warn
from app_inference.decoders import DECODERS
from app_inference.models.repository import Repository, StoredModel
from app_inference.models.retention import pinned


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
        (f"{row['name']}@{row['version']}", row["format"], row["task"], decimal(row["bytes"]), row["digest"][:12],
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
    from app_inference.cli.inspect import inspection, say_inspection

    stored = Repository(models_dir).find(model)
    found = inspection(stored, model_type)
    if as_json:
        say_json(found)
    else:
        say_inspection(found)
    if found["error"]:
        raise typer.Exit(REFUSED)


def versions_in_use(url: str, name: str) -> list[str]:
    """The versions of a model that a running app-inference serves, has served last, or tries; none where none runs."""
    used = (it.partition("@") for it in _states(url) or {})
    return [version for model, _, version in used if model == name]


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
        gone = absence(repository, name, version, error)
        return {**row, "state": f"{gone.state}: {gone.about}"}
    except OSError as error:  # removed while it was looked at
        states.append(f"missing: {error}")
    return {**row, "state": ", ".join(states)}
