"""What core-metadata demands of a profile, and who uses it (contract 2.8)."""

import sqlite3

from edgex_kit.wire.errors import Invalid, NotFound
from edgex_kit.wire.values import canonical_type

from edgex_standin import documents
from edgex_standin.documents import Doc, Where


def check_profile(profile: Doc) -> None:
    """Raises Invalid for a profile at odds with itself; spells its value types as EdgeX does."""
    for key in ("deviceResources", "deviceCommands"):
        profile[key] = profile[key] or []
    resources = {}
    for resource in profile["deviceResources"]:
        properties = resource["properties"]
        if properties["valueType"] == "Binary" and "W" in properties["readWrite"]:
            raise Invalid(f"write permission not support Binary value type for resource '{resource['name']}'")
        if resource["name"] in resources:
            raise Invalid(f"device resource {resource['name']} is duplicated")
        resources[resource["name"]] = properties["readWrite"]
    _check_commands(profile, resources)
    for resource in profile["deviceResources"]:
        properties = resource["properties"]
        properties["valueType"] = canonical_type(properties["valueType"])


def _check_commands(profile: Doc, access: dict[str, str]) -> None:
    seen = set()
    for command in profile["deviceCommands"]:
        if command["name"] in seen:
            raise Invalid(f"device command {command['name']} is duplicated")
        seen.add(command["name"])
        for operation in command["resourceOperations"]:
            _check_operation(operation["deviceResource"], command["readWrite"], access)


def _check_operation(resource: str, wanted: str, access: dict[str, str]) -> None:
    if resource not in access:
        raise Invalid(f"device command's resource {resource} doesn't match any device resource")
    if access[resource] not in ("RW", "WR") and access[resource] != wanted:
        raise Invalid(f"device command's ReadWrite permission '{wanted}' doesn't align the device resource")


def missing(name: str) -> NotFound:
    return NotFound(f"device profile '{name}' does not exist")


def known_profile(db: sqlite3.Connection, name: str) -> Doc:
    profile = documents.find(db, "deviceprofile", name)
    if profile is None:
        raise NotFound(f"no device profile with name '{name}' found")
    return profile


def with_devices(db: sqlite3.Connection, profile: Doc) -> Doc:
    """The profile with the number of devices that are on it."""
    return {**profile, "linkedDeviceCount": documents.count(db, "device", Where({"profileName": profile["name"]}))}


def services_on(db: sqlite3.Connection, name: str) -> list[str]:
    """The device services that have a device on the profile, each once."""
    devices = documents.select(db, "device", Where({"profileName": name}))
    return list(dict.fromkeys(device["serviceName"] for device in devices))
