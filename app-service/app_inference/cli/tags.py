"""`alias`, `pin` and `remove`: names of versions, and which versions stay on this machine's disk."""

from typing import Annotated

import typer
from edgex_kit.wire.errors import Conflict, EdgexError

from app_inference.cli import command as o
from app_inference.cli.client import Client
from app_inference.cli.list import versions_in_use
from app_inference.cli.output import say, warn
from app_inference.models.repository import Repository
from app_inference.models.retention import drop, pin


@o.command
def alias(
    model: o.WantedModel,
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="The new name, such as stable.")],
    delete: Annotated[bool, typer.Option("--delete", help="Delete the alias.")] = False,
    models_dir: o.ModelsDir = o.MODELS_DIR,
    url: o.Url = o.URL,
    keeper_url: o.KeeperUrl = o.KEEPER_URL,
    service: o.Service = o.SERVICE,
) -> None:
    """Give a version another name; models that were requested by it follow within half a minute."""
    repository = Repository(models_dir)
    if delete:
        _delete_alias(repository, Client(url, keeper_url, service=service), model, name)
        return
    model_name, version = o.name_and_version(model)
    repository.point(model_name, name, version)
    say(f"{model_name}@{name} is {version}")


@o.command
def pin_version(
    model: o.WantedModel,
    off: Annotated[bool, typer.Option("--off", help="Remove the pin.")] = False,
    models_dir: o.ModelsDir = o.MODELS_DIR,
) -> None:
    """Exempt a version from retention."""
    name, version = o.name_and_version(model)
    pin(Repository(models_dir), name, version, is_pinned=not off)
    say(f"{name}@{version} is {'no longer ' if off else ''}pinned")


@o.command
def remove(model: o.WantedModel, models_dir: o.ModelsDir = o.MODELS_DIR, url: o.Url = o.URL) -> None:
    """Remove one version from the disk; never one that is in use."""
    name, version = o.name_and_version(model)
    drop(Repository(models_dir), name, version, versions_in_use(url, name))
    say(f"{name}@{version} removed")


def _delete_alias(repository: Repository, client: Client, model: str, alias: str) -> None:
    """Raises Conflict for an alias in use: a request would be refused, a pipeline have no model at a start."""
    name, _, version = model.partition("@")
    meant = repository.aliased(name, alias)
    if version not in ("", meant):
        raise Conflict(f"{name}@{alias} is {meant}, not {version}")
    users = [*_requests(client, name, alias), *_pipelines(client, name, alias)]
    if users:
        raise Conflict(f"{name}@{alias} is in use: {'; '.join(users)}")
    repository.forget(name, alias)
    say(f"{name}@{alias} is deleted; it was {meant}")


def _requests(client: Client, name: str, alias: str) -> list[str]:
    try:
        request = client.desired().models.get(name)
    except EdgexError as error:
        warn(f"whether {name}@{alias} is requested is not known: {error}")
        return []
    is_used = request is not None and request.version == alias
    return [f"it is requested; `edgex-models deploy {name}@1.2.3` requests a version instead"] if is_used else []


def _pipelines(client: Client, name: str, alias: str) -> list[str]:
    try:
        pipelines = client.status().get("pipelines", {})
    except EdgexError as error:
        warn(f"whether a pipeline names {name}@{alias} is not known: {error}")
        return []
    return [f"pipeline '{key}' names it" for key, it in pipelines.items() if it.get("Model") == f"{name}@{alias}"]
