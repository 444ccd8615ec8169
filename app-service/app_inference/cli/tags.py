"""`alias`, `pin` and `remove`: what versions are called, and which of them stay on this machine's disk."""

from typing import Annotated

import typer
from edgex_kit.wire.errors import Conflict, EdgexError, Invalid

from app_inference.cli import options as o
from app_inference.cli.gateway import Gateway
from app_inference.cli.list_models import versions_in_use
from app_inference.cli.outcome import command
from app_inference.cli.output import say, warn
from app_inference.models.repository import Repository
from app_inference.models.retention import drop, pin


@command
def alias(
    model: o.WantedModel,
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="What it is to be called, such as stable.")],
    delete: Annotated[bool, typer.Option("--delete", help="Let the alias stand for nothing any more.")] = False,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    url: o.Url = o.URL,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
) -> None:
    """Let an alias stand for a version; models that are wished by that alias follow within half a minute."""
    repository = Repository(models_dir)
    if delete:
        _forget(repository, Gateway(url, keeper_url, "", service), model, name)
        return
    model_name, version = _name_and_version(model)
    repository.point(model_name, name, version)
    say(f"{model_name}@{name} is {version}")


@command
def pin_version(
    model: o.WantedModel,
    off: Annotated[bool, typer.Option("--off", help="Let it go again.")] = False,
    models_dir: o.ModelsDir = o.MODELS_DIR,
) -> None:
    """Keep a version whatever retention says."""
    name, version = _name_and_version(model)
    pin(Repository(models_dir), name, version, is_pinned=not off)
    say(f"{name}@{version} is {'no longer ' if off else ''}pinned")


@command
def remove(model: o.WantedModel, models_dir: o.ModelsDir = o.MODELS_DIR, url: o.Url = o.URL) -> None:
    """Remove one version from the disk; never one that is in use."""
    name, version = _name_and_version(model)
    drop(Repository(models_dir), name, version, versions_in_use(url, name))
    say(f"{name}@{version} removed")


def _forget(repository: Repository, gateway: Gateway, model: str, alias: str) -> None:
    """Raises Conflict for an alias that is relied on: a wish would be refused, a pipeline have no model at a start."""
    name, _, version = model.partition("@")
    stands_for = repository.aliased(name, alias)
    if version not in ("", stands_for):
        raise Conflict(f"{name}@{alias} is {stands_for}, not {version}")
    users = [*_wishes(gateway, name, alias), *_pipelines(gateway, name, alias)]
    if users:
        raise Conflict(f"{name}@{alias} is in use: {'; '.join(users)}")
    repository.forget(name, alias)
    say(f"{name}@{alias} is deleted; it was {stands_for}")


def _wishes(gateway: Gateway, name: str, alias: str) -> list[str]:
    try:
        wish = gateway.desired().models.get(name)
    except EdgexError as error:
        warn(f"whether {name}@{alias} is wished is not known: {error}")
        return []
    if wish is None or wish.version != alias:
        return []
    return [f"it is wished, `edgex-models deploy {name}@1.2.3` wishes a version instead"]


def _pipelines(gateway: Gateway, name: str, alias: str) -> list[str]:
    try:
        named = {key: section.get("Model") for key, section in gateway.status().get("pipelines", {}).items()}
    except EdgexError as error:
        warn(f"whether a pipeline names {name}@{alias} is not known: {error}")
        return []
    return [f"pipeline '{key}' names it" for key, model in named.items() if model == f"{name}@{alias}"]


def _name_and_version(model: str) -> tuple[str, str]:
    name, _, version = model.partition("@")
    if not version:
        raise Invalid(f"{model}: which version? say {model}@1.2.3")
    return name, version
