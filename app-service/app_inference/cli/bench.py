"""`bench`: measure a model on this machine, or compare two."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from edgex_kit.wire.errors import Invalid
from rich.filesize import decimal

from app_inference.cli import command as o
from app_inference.cli.output import say, say_json, say_table, working
from app_inference.inference.benchmark import MAX_PICTURES, Cost, Job, measure, pictures
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository, StoredModel
from app_inference.vision.agreement import agreement, mean_agreement

_KINDS = (".jpg", ".jpeg", ".png")


@o.command
def bench(
    model: o.WantedModel,
    other: Annotated[str, typer.Argument(metavar="[OTHER]", help="A second one, to compare.")] = "",
    images: Annotated[Path | None, typer.Option("--pictures", help="Folder of JPEG or PNG pictures.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="For latency, and again for throughput.")] = 5.0,
    device: o.Device = "CPU",
    precision: o.Precision = "auto",
    model_type: o.ModelType = "",
    models_dir: o.ModelsDir = o.MODELS_DIR,
    as_json: o.AsJson = False,
) -> None:
    """Measure frames a second, latency and memory; for two models also their agreement on your pictures."""
    repository = Repository(models_dir)
    stored = [repository.find(it) for it in (model, other) if it]
    overrides = {"type": model_type} if model_type else {}
    shown = _pictures(images)
    job = Job("", overrides, device, precision, seconds, tuple(map(str, shown)))
    costs = [_cost(it, msgspec.structs.replace(job, path=_path(it)), as_json) for it in stored]
    found: dict[str, Any] = {"costs": [msgspec.to_builtins(cost) for cost in costs], "pictures": len(shown)}
    if len(costs) == 2:
        found |= _compared(costs)
        runtime = Runtime(device, precision=precision)
        found["agreement"] = _agreement(stored, overrides, runtime, shown) if shown else None
    if as_json:
        say_json(found)
    else:
        _say(costs, found)


def _cost(stored: StoredModel, job: Job, is_quiet: bool) -> Cost:
    with working(f"measuring {stored.name}@{stored.version} for {2 * job.seconds:g} s …", is_quiet=is_quiet):
        return measure(job)


def _path(stored: StoredModel) -> str:
    return str(stored.folder if stored.manifest else stored.path)


def _pictures(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _KINDS) if folder.is_dir() else []
    if not found:
        raise Invalid(f"{folder}: no pictures ({', '.join(_KINDS)}) in it")
    return found[:MAX_PICTURES]


def _agreement(
    stored: list[StoredModel], overrides: dict[str, Any], runtime: Runtime, shown: list[Path]
) -> float | None:
    from app_inference.inference.model import load_model

    with load_model(stored[0], overrides, runtime) as one, load_model(stored[1], overrides, runtime) as other:
        first, second = one.session(), other.session()
        scores = [
            agreement(first.analyse(it)[0], second.analyse(it)[0], one.labels, other.labels) for it in pictures(shown)
        ]
    return mean_agreement(scores)


def _compared(costs: list[Cost]) -> dict[str, float]:
    """Ratios of the second to the first."""
    one, other = costs
    return {
        "speedRatio": round(other.frames_per_second / one.frames_per_second, 3),
        "latencyRatio": round(other.p50_ms / one.p50_ms, 3),
        "sizeRatio": round(other.bytes / one.bytes, 3),
    }


def _say(costs: list[Cost], found: dict[str, Any]) -> None:
    rows = [
        (f"{it.name}@{it.version}", it.precision, ",".join(it.devices), f"{it.frames_per_second:.1f}",
         f"{it.p50_ms:.1f}", f"{it.p99_ms:.1f}", f"{it.pre_ms:.1f}/{it.infer_ms:.1f}/{it.post_ms:.1f}",
         f"{it.memory_mb:.0f} MB", f"{it.load_ms:.0f} ms", decimal(it.bytes))
        for it in costs
    ]  # fmt: skip
    columns = ("model", "precision", "device", "frames/s", "p50 ms", "p99 ms", "pre/infer/post", "memory", "load",
               "size")  # fmt: skip
    say_table(columns, rows, right=columns[3:])
    if len(costs) < 2:
        return
    if found["agreement"] is not None:
        agreed = f"{found['agreement']:.3f} on {found['pictures']} pictures"
    else:
        agreed = "neither found anything" if found["pictures"] else "not compared: give --pictures"
    speed, size = found["speedRatio"], found["sizeRatio"]
    say(f"the second: {speed:.2f} times the frames, {size:.2f} times the size; agreement {agreed}")
