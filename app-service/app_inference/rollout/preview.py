"""What a deployment would do, before it is done. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app_inference.rollout.canary import canary_for
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.steps import Step

_BEFORE = (Step.RESOLVE, Step.VERIFY, Step.LOAD, Step.SELFTEST)
_AFTER = (Step.SWITCH, Step.OBSERVE, Step.COMMIT, Step.IDLE)
_BETWEEN: Mapping[str, tuple[Step, ...]] = {"swap": (), "canary": (Step.CANARY,), "shadow": (Step.SHADOW,)}


@dataclass(frozen=True, slots=True)
class AffectedCameras:
    """The cameras a model analyses, and those a candidate would serve first."""

    cameras: tuple[str, ...]
    first: tuple[str, ...]


def steps_of(request: ModelRequest) -> tuple[Step, ...]:
    """The steps that would be journalled, in their order, if all goes well."""
    return (*_BEFORE, *_BETWEEN[request.strategy], *_AFTER)


def affected_cameras(name: str, request: ModelRequest, status: Mapping[str, Any]) -> AffectedCameras:
    """Which cameras it would affect, by app-inference's status."""
    cameras = [str(row["name"]) for row in status.get("cameras", ())]
    analysed = sorted(set(_analysed(name, cameras, status.get("pipelines", {}).values())))
    if request.strategy != "canary":
        return AffectedCameras(tuple(analysed), ())
    is_first = canary_for(name, request.canary, analysed)
    return AffectedCameras(tuple(analysed), tuple(camera for camera in analysed if is_first(camera)))


def pinned_pipelines(name: str, status: Mapping[str, Any]) -> list[str]:
    """The pipelines that use a version of their own of a model, if all that use it do: no request is followed then."""
    used = {key: str(_field(it, "model", "")) for key, it in status.get("pipelines", {}).items()}
    pinned = [f"pipeline {key} uses {model}" for key, model in sorted(used.items()) if model.startswith(f"{name}@")]
    return [] if name in used.values() else pinned


def _analysed(name: str, cameras: Iterable[str], pipelines: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for section in pipelines:
        if _field(section, "enabled", True) and _field(section, "model", "") == name:
            wanted = {word.strip() for word in str(_field(section, "cameras", "*")).split(",")}
            yield from (camera for camera in cameras if "*" in wanted or camera in wanted)


def _field(section: Mapping[str, Any], key: str, default: Any) -> Any:
    """EdgeX writes configuration keys with a capital."""
    return section.get(key, section.get(key.capitalize(), default))
