"""The common configuration as core-common-config-bootstrapper seeds it, with this core's addresses."""

import sqlite3
from functools import cache
from pathlib import Path

import yaml
from edgex_kit.config.layers import leaves, merge, text_of
from edgex_kit.config.settings import Tree

from edgex_standin.address import Address
from edgex_standin.core import COMMAND, DATA, KEEPER, METADATA, Core
from edgex_standin.keeper import kv

COMMON = "edgex/v4/core-common-config-bootstrapper"
READY = f"{COMMON}/IsCommonConfigReady"


def seed(db: sqlite3.Connection, core: Core) -> None:
    """Write what is missing, and this core's addresses at every start."""
    addresses = {f"{COMMON}/{'/'.join(path)}": text_of(value) for path, value in leaves(_addresses(core))}
    for path, value in leaves(common_tree()):
        key = f"{COMMON}/{'/'.join(path)}"
        if key not in addresses and not kv.find(db, key):
            kv.put(db, key, text_of(value))
    for key, text in addresses.items():
        if [pair.value for pair in kv.find(db, key)] != [text]:
            kv.put(db, key, text)
    for service, tree in _private_trees().items():
        for path, value in leaves({"Writable": tree["Writable"]}):
            key = f"edgex/v4/{service}/{'/'.join(path)}"
            if not kv.find(db, key):
                kv.put(db, key, text_of(value))
    kv.put(db, READY, "true")


def configuration_of(core: Core, service: str) -> Tree:
    """What a core service of this process shows as its configuration."""
    addresses = _addresses(core)
    place = core.places[service]
    own = {
        "Service": {"Host": place.host, "Port": place.port},
        "MessageBus": {"Disabled": False, "Optional": {"ClientId": service}},
    }
    tree = merge(common_tree()["all-services"], addresses["all-services"], _private_trees()[service], own)
    tree["Database"] = {"Type": "sqlite"}
    if service == KEEPER:
        del tree["Registry"]
    if service in (DATA, COMMAND):
        tree["Clients"] = merge(tree["Clients"], addresses["device-services"]["Clients"])
    return tree


def _addresses(core: Core) -> Tree:
    metadata = {"Clients": {METADATA: {"Protocol": "http", **_host_and_port(core.places[METADATA])}}}
    bus = {**_host_and_port(core.broker), "BaseTopicPrefix": core.topics.base}
    service = {
        "EnableNameFieldEscape": core.topics.escape,
        "RequestTimeout": core.service.request_timeout,
        "MaxResultCount": core.service.max_result_count,
    }
    all_services = {"MessageBus": bus, "Registry": _host_and_port(core.places[KEEPER]), "Service": service}
    return {"all-services": all_services, "app-services": metadata, "device-services": metadata}


def _host_and_port(place: Address) -> Tree:
    return {"Host": place.host, "Port": place.port}


@cache
def common_tree() -> Tree:
    return _load("common.yaml")


@cache
def _private_trees() -> Tree:
    return _load("private.yaml")


def _load(name: str) -> Tree:
    tree: Tree = yaml.safe_load((Path(__file__).parent / name).read_text())
    return tree
