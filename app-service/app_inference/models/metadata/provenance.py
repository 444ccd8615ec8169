"""Licence, source and training of a model, each with its origin. Pure.

The strongest first: the manifest, an export's own metadata, what tools left in the model's file.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app_inference.models.manifest import Manifest
from app_inference.models.metadata.exports import Export

KEYS = ("license", "source", "description", "dataset", "commit", "trainer", "created", "sbom")

# Licences with conditions for running the model as a service, or that forbid it: a warning, never a refusal.
_ASKS = re.compile(r"AGPL|CC-BY-NC|non-?commercial|SSPL|research only", re.IGNORECASE)
_TOOLS = {"otx_version": "OTX", "getitune_version": "Geti", "anomalib_version": "anomalib", "nncf/version": "NNCF"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A text, and where it was found."""

    text: str
    origin: str


def provenance(
    manifest: Manifest | None, export: Export | None, facts: Mapping[str, str] | None = None
) -> dict[str, Statement]:
    """What is known of `KEYS`; `facts` are what tools left in the file: `model_info`'s keys and `nncf/version`."""
    layers = [("manifest", _manifested(manifest)), *_exported(export), ("model_info", _marked(facts or {}))]
    known = {}
    for key in KEYS:
        found = next(((name, layer[key]) for name, layer in layers if layer.get(key)), None)
        if found is not None:
            known[key] = Statement(found[1], found[0])
    return known


def missing(known: Mapping[str, Statement], required: Iterable[str]) -> list[str]:
    """Which of the required keys are not stated."""
    return [key for key in required if key not in known]


def license_warning(known: Mapping[str, Statement]) -> str:
    """A sentence where the licence asks more of an operator than naming the author; empty where it does not."""
    licence = known.get("license")
    if licence is None:
        return "no licence is stated: there is no permission to use it"
    if _ASKS.search(licence.text):
        return f"its licence is {licence.text}: read what it asks of who runs it"
    return ""


def _manifested(manifest: Manifest | None) -> dict[str, str]:
    if manifest is None:
        return {}
    ours = manifest.provenance
    return {
        "license": manifest.license,
        "source": manifest.source,
        "description": manifest.description,
        **{key: getattr(ours, key) for key in ("dataset", "commit", "trainer", "created", "sbom")},
    }


def _exported(export: Export | None) -> list[tuple[str, dict[str, str]]]:
    if export is None:
        return []
    stated = {key: getattr(export, key) for key in ("license", "trainer", "created", "description")}
    return [(export.origin, stated)]


def _marked(facts: Mapping[str, str]) -> dict[str, str]:
    tools = ", ".join(f"{tool} {facts[key]}" for key, tool in _TOOLS.items() if facts.get(key))
    own = {key: facts.get(key, "") for key in ("license", "description")}
    return {**own, "trainer": tools}
