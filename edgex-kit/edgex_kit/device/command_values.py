"""From the body of a SET to values for the device: defaults, mappings, types, ranges; pure (contract 6.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgex_kit.device.command_lookup import Operation, Selection
from edgex_kit.wire.errors import DriverFailed, EdgexError, Invalid
from edgex_kit.wire.transforms import check_range, map_write, transform_write
from edgex_kit.wire.values import parse_value


@dataclass(frozen=True, slots=True)
class Write:
    """One value on its way to the device."""

    operation: Operation
    value: Any


def writes_from_body(selection: Selection, body: Mapping[str, Any], *, transform: bool) -> tuple[Write, ...]:
    """A value for every operation. Raises DriverFailed for a missing one, Invalid for one that does not fit."""
    return tuple(Write(operation, _value(operation, body, transform=transform)) for operation in selection.operations)


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
