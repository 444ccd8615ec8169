"""What core-metadata demands of a device before it takes it. Each call is part of a store job."""

import re
import sqlite3

from edgex_kit.wire.errors import Conflict, EdgexError, Invalid, NotFound

from edgex_standin import documents
from edgex_standin.documents import Doc, Where
from edgex_standin.metadata.shapes import DEVICE


def known_device(db: sqlite3.Connection, name: str) -> Doc:
    device = documents.find(db, "device", name)
    if device is None:
        raise NotFound(f"no device with name '{name}' found")
    return device


def check_new(db: sqlite3.Connection, device: Doc, *, force: bool) -> Doc | None:
    """The device that `device` will replace because it was forced, or None. Raises for what core-metadata refuses."""
    _check_service(db, device["serviceName"])
    _check_profile(db, device)
    known = documents.find(db, "device", device["name"])
    if known is None:
        return None
    if not force:
        raise Conflict(f"device name {device['name']} already exists")
    device.update({key: known[key] for key in ("id", "created", "modified") if not device.get(key)})
    return known


def changed(db: sqlite3.Connection, change: Doc) -> tuple[Doc, Doc]:
    """A device as it is and as an update makes it; whole lists and maps are replaced (contract 2.6)."""
    if change.get("serviceName") is not None:
        _check_service(db, change["serviceName"])
    known = documents.by_id_or_name(db, "device", change, "device")
    device = {**known, **{key: value for key, value in change.items() if key != "id"}}
    if device.get("profileName") != known.get("profileName"):
        _drop_strange_auto_events(db, device)
    else:
        _check_profile(db, device)
    return known, DEVICE.tidy(device)


def insert(db: sqlite3.Connection, device: Doc) -> Doc:
    """Store a new device. Raises Conflict if it, or its id, has come into being meanwhile."""
    if documents.find(db, "device", device["name"]):
        raise Conflict(f"device name {device['name']} already exists")
    if device.get("id") and documents.find_by_id(db, "device", device["id"]):
        raise Conflict(f"device id {device['id']} already exists")
    return documents.insert(db, "device", device["name"], device)


def delete(db: sqlite3.Connection, name: str) -> Doc:
    device = known_device(db, name)
    if documents.count(db, "device", Where({"parent": name})):
        raise Conflict("cannot delete device with children")
    documents.delete(db, "device", name)
    return device


def descendants(db: sqlite3.Connection, parent: str, levels: int, labels: tuple[str, ...]) -> list[Doc]:
    """Children, their children and so on, level by level; `levels` 0 is all."""
    found: list[Doc] = []
    parents, level = [parent], 0
    while parents and (not levels or level < levels):
        below = [child for name in parents for child in documents.select(db, "device", Where({"parent": name}, labels))]
        if any(child["name"] == child["parent"] for child in below):
            raise EdgexError(f"Device {parent} is its own parent, stopping tree query")
        found += below
        parents, level = [child["name"] for child in below], level + 1
    return found


def _check_service(db: sqlite3.Connection, name: str) -> None:
    if documents.find(db, "deviceservice", name) is None:
        raise Invalid(f"device service '{name}' does not exists")


def _check_profile(db: sqlite3.Connection, device: Doc) -> None:
    """Profile, parent and auto events; a device without a profile is taken as it is."""
    profile = _profile_of(db, device)
    for auto_event in (device.get("autoEvents") or ()) if profile else ():
        _check_auto_event(auto_event, device, profile or {})


def _drop_strange_auto_events(db: sqlite3.Connection, device: Doc) -> None:
    """A new profile silently loses the auto events it has no source for (4.0.2)."""
    profile = _profile_of(db, device)
    if profile and device.get("autoEvents"):
        device["autoEvents"] = [one for one in device["autoEvents"] if _is_known_source(one["sourceName"], profile)]


def _profile_of(db: sqlite3.Connection, device: Doc) -> Doc | None:
    name = device.get("profileName")
    if not name:
        return None
    if device["name"] == device.get("parent"):
        raise Invalid("a device cannot be its own parent")
    profile = documents.find(db, "deviceprofile", name)
    if profile is None:
        raise Invalid(f"device profile '{name}' not found during validating device '{device['name']}'")
    return profile


def _check_auto_event(auto_event: Doc, device: Doc, profile: Doc) -> None:
    interval, source = auto_event["interval"], auto_event["sourceName"]
    if interval.endswith("d"):  # the days that EdgeX's own check lets pass are none of Go's durations
        raise Invalid(f"auto event interval '{interval}' not valid in the device '{device['name']}'")
    if not _is_known_source(source, profile):
        raise Invalid(f"auto event source '{source}' cannot be found in the device profile '{profile['name']}'")


def _is_known_source(source: str, profile: Doc) -> bool:
    """Whether it is a command, a resource, or a regular expression for resources. Raises Invalid for a broken one."""
    if any(command["name"] == source for command in profile["deviceCommands"] or ()):
        return True
    try:
        pattern = re.compile(source)
    except re.error as error:
        raise Invalid(f"failed to CompilePOSIX the auto event source name: {source}") from error
    resources = [resource["name"] for resource in profile["deviceResources"] or ()]
    return source in resources or any(pattern.fullmatch(name) for name in resources)
