"""`plan`: what a deployment would change; it changes nothing."""

from typing import Annotated, Any

import msgspec
import typer
from edgex_kit.wire.errors import Invalid, NotFound
from rich.filesize import decimal

from app_inference.cli import command as o
from app_inference.cli.client import Client
from app_inference.cli.deploy import Cameras, Percent, StrategyOption, canary
from app_inference.cli.output import say, say_facts, say_json, warn, working
from app_inference.inference.benchmark import Job, measure
from app_inference.models.manifest import Limits
from app_inference.models.metadata.provenance import license_warning
from app_inference.models.repository import Repository, StoredModel
from app_inference.models.staging import free_bytes
from app_inference.rollout.compatibility import compare
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.preview import affected_cameras, steps_of

Against = Annotated[str, typer.Option(help="Compare with this version instead of the one that serves.")]
NoMeasure = Annotated[bool, typer.Option("--no-measure", help="Do not run it, and so leave out memory and time.")]


@o.command
def plan(
    model: o.WantedModel,
    strategy: StrategyOption = "swap",
    percent: Percent = 25.0,
    cameras: Cameras = "",
    against: Against = "",
    no_measure: NoMeasure = False,
    device: o.Device = "CPU",
    models_dir: o.ModelsDir = o.MODELS_DIR,
    url: o.Url = o.URL,
    as_json: o.AsJson = False,
) -> None:
    """Show what `deploy` would do: steps, cameras, bytes, memory, and what changes in the results."""
    repository = Repository(models_dir)
    candidate = repository.find(model)
    status = {} if against else Client(url).status()
    serving = repository.version(candidate.name, against) if against else _serving(repository, candidate.name, status)
    request = ModelRequest(version=candidate.version, strategy=strategy, canary=canary(percent, cameras))
    with working("reading both versions …", is_quiet=as_json):
        found = _preview(candidate, serving, request, status)
        if not no_measure:
            found |= _measured(candidate, device)
    if as_json:
        say_json(found)
    else:
        _say(found)


def _serving(repository: Repository, name: str, status: dict[str, Any]) -> StoredModel:
    rows = [row for row in status["models"] if row.get("name") == name and row.get("version")]
    if not rows:
        used = ", ".join(str(row["name"]) for row in status["models"]) or "none"
        raise NotFound(f"no pipeline uses model '{name}', those in use are {used}; compare with --against VERSION")
    return repository.version(name, rows[0]["version"])


def _preview(
    candidate: StoredModel, serving: StoredModel, request: ModelRequest, status: dict[str, Any]
) -> dict[str, Any]:
    from app_inference.inference.model import load_model

    if candidate.name != serving.name:
        raise Invalid(f"{candidate.name} cannot replace {serving.name}")
    with load_model(serving) as old, load_model(candidate) as new:
        changes = compare(old, new)
        licence = license_warning(new.provenance)
        warnings = [*new.warnings, *([licence] if licence else [])]
        precision = {"from": old.precision, "to": new.precision}
    touched = affected_cameras(candidate.name, request, status)
    return {
        "model": candidate.name,
        "from": serving.version,
        "to": candidate.version,
        "digest": candidate.digest(),
        "isSameDigest": candidate.digest() == serving.digest(),
        "steps": [str(step) for step in steps_of(request)] if candidate.version != serving.version else [],
        "cameras": list(touched.cameras),
        "firstCameras": list(touched.first),
        "bytes": {"from": serving.size(), "to": candidate.size(), "free": free_bytes(candidate.folder)},
        "precision": precision,
        "changes": [{"key": it.key, "text": it.text, "holdsTheUpdate": it.is_breaking} for it in changes],
        "golden": len(candidate.manifest.golden) if candidate.manifest else 0,
        "warnings": warnings,
    }


def _measured(candidate: StoredModel, device: str) -> dict[str, Any]:
    cost = measure(Job(str(candidate.folder if candidate.manifest else candidate.path), device=device, seconds=1.0))
    limits = candidate.manifest.limits if candidate.manifest else Limits()
    over = []
    if limits.memory_mb is not None and cost.memory_mb > limits.memory_mb:
        over.append(f"it takes {cost.memory_mb:.0f} MB, its manifest allows {limits.memory_mb:g}")
    if limits.latency_ms is not None and cost.p50_ms > limits.latency_ms:
        over.append(f"an inference takes {cost.p50_ms:.1f} ms, its manifest allows {limits.latency_ms:g}")
    return {"cost": msgspec.to_builtins(cost), "overLimits": over}


def _say(found: dict[str, Any]) -> None:
    sizes, cost = found["bytes"], found.get("cost", {})
    first = f", first {', '.join(found['firstCameras']) or 'none'}" if "CANARY" in found["steps"] else ""
    golden = found["golden"]
    say_facts(
        {
            "model": f"{found['model']}  {found['from']} -> {found['to']}  (sha256 {found['digest'][:12]}…)",
            "steps": " -> ".join(found["steps"]) or "none: it already serves",
            "cameras": (", ".join(found["cameras"]) or "none") + first,
            "on disk": f"{decimal(sizes['to'])}, was {decimal(sizes['from'])}; {decimal(sizes['free'])} free",
            "precision": f"{found['precision']['to']}, was {found['precision']['from']}",
            "memory": f"about {cost['memoryMb']:.0f} MB in addition to the current version, until it is committed"
            if cost
            else "",
            "inference": f"{cost['p50Ms']:.1f} ms (p99 {cost['p99Ms']:.1f}) on this machine, now" if cost else "",
            "self-test": f"{golden or 'no'} golden picture{'s' * (golden != 1)}",
        }
    )
    for change in found["changes"]:
        say(f"{'stops the update' if change['holdsTheUpdate'] else 'changes'}: {change['text']}")
    for text in [*found["warnings"], *found.get("overLimits", [])]:
        warn(text)
