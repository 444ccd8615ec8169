"""Which OpenVINO a model was made for, beside the one that runs here."""

import re
from collections.abc import Mapping

from app_inference.errors import ModelRejected
from app_inference.models.repository import StoredModel

Release = tuple[int, ...]


def release_of(version: str) -> Release:
    """2026.4.1-22982-e213… as (2026, 4, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def check_release(stored: StoredModel, version: str) -> None:
    """Raise ModelRejected where the manifest asks for another OpenVINO than `version`."""
    if stored.manifest is None:
        return
    ours, least, most = release_of(version), stored.manifest.min_openvino, stored.manifest.max_openvino
    if (least and ours < release_of(least)) or (most and ours[: len(release_of(most))] > release_of(most)):
        wanted = " ".join(filter(None, [least and f"from {least}", most and f"up to {most}"]))
        raise ModelRejected(f"{stored.path}: made for OpenVINO {wanted}, this is {_text(ours)}")


def warnings(facts: Mapping[str, str], version: str) -> tuple[str, ...]:
    """An INT8 graph is tuned to the OpenVINO it was made with: with another one it may be slower, or say otherwise."""
    made, ours = release_of(facts.get("made_with", ""))[:2], release_of(version)[:2]
    if "nncf/version" not in facts or not made or made == ours:
        return ()
    return (f"quantised by NNCF {facts['nncf/version']} for OpenVINO {_text(made)}, this is {_text(ours)}",)


def _text(release: Release) -> str:
    return ".".join(map(str, release))
