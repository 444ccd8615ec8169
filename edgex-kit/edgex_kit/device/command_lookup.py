"""What a command's name means in a profile: which resources are read or written, with which rules; pure (contract 6.2).

A device command comes first; then, for a read, a POSIX regex over whole resource names; then the exact resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgex_kit.device.patterns import compile_posix
from edgex_kit.wire.devices import DeviceCommand, DeviceProfile, DeviceResource
from edgex_kit.wire.errors import DriverFailed, Invalid, NotAllowed, NotFound


@dataclass(frozen=True, slots=True)
class Operation:
    """One resource of a command, with the command's default and mappings for it."""

    resource: DeviceResource
    default: str = ""
    mappings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The resources a name stands for. `source` is the name as it was asked for."""

    source: str
    operations: tuple[Operation, ...]
    tags: Mapping[str, Any] | None = None
    is_readable: bool = True  # what was written is told to the world


def select_to_read(profile: DeviceProfile, source: str, *, regex: bool, most: int) -> Selection:
    """What to read. Raises NotFound, NotAllowed, Invalid for a broken regex, DriverFailed over `most` operations."""
    command = profile.command(source)
    if command is not None:
        if "R" not in command.read_write:
            raise NotAllowed(f"DeviceCommand {source} is marked as write-only")
        return _selection(profile, command, most, "GET")
    if regex:
        return Selection(source, tuple(Operation(found) for found in _matching(profile, source)))
    resource = _exact(profile, source)
    if not resource.is_readable:
        raise NotAllowed(f"DeviceResource {source} is marked as write-only")
    return Selection(source, (Operation(resource),))


def select_to_write(profile: DeviceProfile, source: str, *, most: int) -> Selection:
    """What to write. Raises NotFound, NotAllowed, DriverFailed over `most` operations."""
    command = profile.command(source)
    if command is not None:
        if "W" not in command.read_write:
            raise NotAllowed(f"DeviceCommand {source} is marked as read-only")
        return _selection(profile, command, most, "SET")
    resource = _exact(profile, source)
    if not resource.is_writable:
        raise NotAllowed(f"DeviceResource {source} is marked as read-only")
    return Selection(source, (Operation(resource),), is_readable=resource.is_readable)


def _selection(profile: DeviceProfile, command: DeviceCommand, most: int, method: str) -> Selection:
    if len(command.resource_operations) > most:
        raise DriverFailed(f"{method} command {command.name} exceed MaxCmdOps ({most})")
    operations = []
    for one in command.resource_operations:
        resource = profile.resource(one.device_resource)
        if resource is None:
            raise DriverFailed(f"DeviceResource {one.device_resource} in {method} command {command.name} not defined")
        operations.append(Operation(resource, one.default_value, one.mappings))
    return Selection(command.name, tuple(operations), command.tags, is_readable="R" in command.read_write)


def _exact(profile: DeviceProfile, name: str) -> DeviceResource:
    resource = profile.resource(name)
    if resource is None:
        raise NotFound(f"DeviceResource {name} not found")
    return resource


def _matching(profile: DeviceProfile, pattern: str) -> list[DeviceResource]:
    try:
        matches = compile_posix(pattern)
    except Invalid as error:
        raise Invalid(f"failed to CompilePOSIX resource name -> {error}") from error
    found = [resource for resource in profile.device_resources or () if matches(resource.name)]
    if not found:
        raise NotFound(f"Regex DeviceResource {pattern} not found")
    readable = [resource for resource in found if resource.is_readable]
    if not readable:
        raise NotAllowed(f"no readable resources matched with {pattern}")
    return readable
