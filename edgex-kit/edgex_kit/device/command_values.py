"""What a command means in a profile, and the values a SET gives it; pure.

A device command comes first; then, for a read, a POSIX regular expression over whole resource names; then the resource
of that name (device-sdk-go, internal/application/command.go).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import re2

from edgex_kit.wire.devices import DeviceCommand, DeviceProfile, DeviceResource
from edgex_kit.wire.errors import DriverFailed, EdgexError, Invalid, NotAllowed, NotFound
from edgex_kit.wire.transforms import check_range, map_write, transform_write
from edgex_kit.wire.values import parse_value

_LONGEST_PATTERN = 1000  # characters
_POSIX = re2.Options()  # the dialect of Go's regexp.CompilePOSIX, in linear time
_POSIX.posix_syntax, _POSIX.log_errors = True, False


@dataclass(frozen=True, slots=True)
class Operation:
    """One resource of a command, with the command's default and mappings for it."""

    resource: DeviceResource
    default: str = ""
    mappings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The resources that a name stands for. `source` is the requested name."""

    source: str
    operations: tuple[Operation, ...]
    tags: Mapping[str, Any] | None = None
    is_readable: bool = True  # what was written is published


@dataclass(frozen=True, slots=True)
class Write:
    """One value on its way to the device."""

    operation: Operation
    value: Any


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


def writes_from_body(selection: Selection, body: Mapping[str, Any], *, transform: bool) -> tuple[Write, ...]:
    """A value for every operation. Raises DriverFailed for a missing one, Invalid for one that does not fit."""
    return tuple(Write(operation, _value(operation, body, transform=transform)) for operation in selection.operations)


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
    if len(pattern) > _LONGEST_PATTERN:
        raise Invalid(f"failed to CompilePOSIX resource name -> more than {_LONGEST_PATTERN} characters")
    try:
        compiled = re2.compile(pattern, _POSIX)
    except re2.error as error:  # its text is bytes
        why = error.args[0].decode(errors="replace") if error.args else "error"
        raise Invalid(f"failed to CompilePOSIX resource name -> error parsing regexp: {why}") from error
    found = [resource for resource in profile.device_resources or () if compiled.fullmatch(resource.name)]
    if not found:
        raise NotFound(f"Regex DeviceResource {pattern} not found")
    readable = [resource for resource in found if resource.is_readable]
    if not readable:
        raise NotAllowed(f"no readable resources matched with {pattern}")
    return readable


def _value(operation: Operation, body: Mapping[str, Any], *, transform: bool) -> Any:
    resource = operation.resource
    properties = resource.properties
    given = _given(operation, body)
    if operation.mappings:
        given = map_write(given, operation.mappings)
    try:
        value = parse_value(given, properties.value_type)
        check_range(value, properties)
        return transform_write(value, properties) if transform else value
    except EdgexError as error:
        raise Invalid(f"DeviceResource {resource.name}: {error}") from error


def _given(operation: Operation, body: Mapping[str, Any]) -> Any:
    name = operation.resource.name
    if name in body:
        return body[name]
    default = operation.default or operation.resource.properties.default_value
    if not default:
        raise DriverFailed(f"DeviceResource {name} not found in request body and no default value defined")
    return default
