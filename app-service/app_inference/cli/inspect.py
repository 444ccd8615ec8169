"""`inspect`: all that is known of one model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from edgex_kit.wire.errors import EdgexError
from rich.filesize import decimal

from app_inference.cli import command as o
from app_inference.cli.output import say, say_facts, say_json, say_table, warn
from app_inference.decoders import DECODERS, Decoder, TensorSpec
from app_inference.errors import ModelRejected
from app_inference.models.metadata.provenance import license_warning
from app_inference.models.repository import Repository, StoredModel
from app_inference.models.resolution import DEFAULT

if TYPE_CHECKING:
    from app_inference.inference.model import OpenedModel

_MOST_LABELS = 12  # shown in a row
_OBJECTS = ("detection", "instance_segmentation", "keypoints")
_TASKS: Mapping[str, tuple[str, ...]] = {  # keys that are shown only for these tasks, or where somebody set them
    **dict.fromkeys(("iou", "agnostic_nms", "max_detections", "box_units"), _OBJECTS),
    **dict.fromkeys(("top_k", "multilabel"), ("classification",)),
    **dict.fromkeys(("image_threshold", "pixel_threshold", "normalization_scale"), ("anomaly",)),
}


@o.command
def inspect(
    model: o.WantedModel,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    model_type: o.ModelType = "",
    as_json: o.AsJson = False,
) -> None:
    """Show every setting of a model with its origin, inputs, outputs, licence and digests. Nothing is compiled."""
    stored = Repository(models_dir).find(model)
    found = _inspection(stored, model_type)
    if as_json:
        say_json(found)
    else:
        _say(found)
    if found["error"]:
        raise typer.Exit(o.REFUSED)


def _inspection(stored: StoredModel, model_type: str) -> dict[str, Any]:
    """As plain data; `error` is the reason why it cannot be used, empty when it can."""
    from app_inference.inference.model import open_model

    found: dict[str, Any] = {
        "name": stored.name, "version": stored.version, "path": str(stored.path), "bytes": stored.size(),
        "digest": "", "error": "", "settings": {}, "inputs": [], "outputs": [], "fits": [], "provenance": {},
        "warnings": [], "files": _files(stored), "golden": len(stored.manifest.golden) if stored.manifest else 0,
    }  # fmt: skip
    try:
        found["digest"] = stored.verified_digest()
        return found | _opened(open_model(stored, {"type": model_type} if model_type else {}))
    except EdgexError as error:
        return found | {"error": str(error)} | _unopened(stored)


def _say(found: dict[str, Any]) -> None:
    say_facts(
        {
            "model": f"{found['name']}@{found['version']}",
            "file": f"{found['path']} ({decimal(found['bytes'])})",
            "digest": found["digest"],
            "input": "; ".join(found["inputs"]),
            "outputs": "; ".join(found["outputs"]),
            "golden pictures": str(found["golden"] or ""),
        }
        | {key: f"{it['text']}  ({it['origin']})" for key, it in found["provenance"].items()}
    )
    if found["settings"]:
        say("")
        task = found["settings"]["task"]["value"]
        rows = [
            (key, _short(it["value"]), it["origin"])
            for key, it in found["settings"].items()
            if task in _TASKS.get(key, (task,)) or it["origin"] != DEFAULT
        ]
        say_table(("key", "value", "decided by"), rows)
    for text in found["warnings"]:
        warn(text)
    if found["error"]:
        warn(f"it cannot be used as it is: {found['error']}")
        if found["fits"]:
            warn(f"its outputs would fit the types {', '.join(found['fits'])}")


def _opened(opened: "OpenedModel") -> dict[str, Any]:
    values = opened.resolved.values()
    origins = opened.resolved.origins
    licence = license_warning(opened.provenance)
    return {
        "inputs": [str(opened.picture)],
        "outputs": list(map(str, opened.outputs)),
        "settings": {key: {"value": values[key], "origin": origins.get(key, "type")} for key in sorted(values)},
        "provenance": {key: {"text": it.text, "origin": it.origin} for key, it in opened.provenance.items()},
        "warnings": [*opened.warnings, *([licence] if licence else [])],
    }


def _unopened(stored: StoredModel) -> dict[str, Any]:
    """Inputs, outputs, and the model types that would fit them."""
    from app_inference.inference.model import ports

    try:
        inputs, outputs = ports(stored)
    except EdgexError:
        return {}
    fits = [name for name, decoder in sorted(DECODERS.items()) if _accepts(decoder, outputs)]
    return {"inputs": list(map(str, inputs)), "outputs": list(map(str, outputs)), "fits": fits}


def _accepts(decoder: Decoder, outputs: list[TensorSpec]) -> bool:
    try:
        decoder.check(outputs)
    except ModelRejected:
        return False
    return True


def _files(stored: StoredModel) -> list[dict[str, Any]]:
    listed = stored.manifest.files if stored.manifest else []
    return [{"name": file.name, "bytes": file.size, "sha256": file.sha256, "source": file.source} for file in listed]


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        shown = ", ".join(map(str, value[:_MOST_LABELS]))
        return f"{shown}, … ({len(value)})" if len(value) > _MOST_LABELS else shown
    return str(value)
