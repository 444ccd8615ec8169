"""Values of resources as readings, and readings as an event: the same for both services."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgex_kit.wire.devices import DeviceResource
from edgex_kit.wire.errors import AssertionBroken, DriverFailed, EdgexError, Invalid
from edgex_kit.wire.messages import API, Event, Reading, new_id
from edgex_kit.wire.transforms import Overflow, map_read, transform_read
from edgex_kit.wire.values import FLOATS, canonical_type, checked_number, encode_value

MAX_BINARY_BYTES = 16_777_216  # device-sdk-go refuses more in one reading


def reading_from(
    value: Any,
    resource: DeviceResource,
    device_name: str,
    profile_name: str,
    origin: int,
    *,
    with_units: bool,
    transform: bool = True,
    mappings: Mapping[str, str] | None = None,
) -> Reading:
    """The reading of `resource` of the device. `origin` in ns; None is a null reading; `mappings` are the command's.

    A number that no longer fits its type is the String "overflow", NaN the String "NaN". Raises DriverFailed naming
    device and resource for a value that is not of the resource's type, AssertionBroken when it is not the one asserted.
    """
    try:
        value_type, fields = _value_fields(value, resource, transform=transform, mappings=mappings)
    except AssertionBroken:
        raise
    except EdgexError as error:
        raise DriverFailed(f"resource '{resource.name}' of device '{device_name}': {error}") from error
    return Reading(
        id=new_id(),
        origin=origin,
        device_name=device_name,
        resource_name=resource.name,
        profile_name=profile_name,
        value_type=value_type,
        units=resource.properties.units if with_units else "",
        tags=dict(resource.tags) if resource.tags else None,
        **fields,
    )


def event_from_readings(
    readings: Sequence[Reading],
    *,
    device_name: str,
    profile_name: str,
    source_name: str,
    origin: int,
    command_tags: Mapping[str, Any] | None = None,
    device_tags: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
) -> Event:
    """Readings taken together, `origin` in ns. Of equal tags the device's win over the command's, and `tags`, those of
    this event alone, over both. Raises DriverFailed when there are no readings."""
    if not readings:
        raise DriverFailed(f"device '{device_name}' gave no reading for '{source_name}'")
    return Event(
        api_version=API,
        id=new_id(),
        device_name=device_name,
        profile_name=profile_name,
        source_name=source_name,
        origin=origin,
        readings=tuple(readings),
        tags={**(command_tags or {}), **(device_tags or {}), **(tags or {})} or None,
    )


def _value_fields(
    value: Any, resource: DeviceResource, *, transform: bool, mappings: Mapping[str, str] | None
) -> tuple[str, dict[str, Any]]:
    """The value type of the reading, and the fields that carry its value."""
    kind = canonical_type(resource.properties.value_type)
    if value is None:  # Go writes all three
        return kind, {"value": None, "binary_value": None, "object_value": None}
    if kind == "Binary":
        return kind, _binary_fields(value, resource)
    if kind in ("Object", "ObjectArray"):
        return kind, {"object_value": _checked_object(value, kind)}
    kind, value = _transformed(value, kind, resource, transform=transform)
    text = encode_value(value, kind)
    if resource.properties.assertion and text != resource.properties.assertion:
        raise AssertionBroken(f"Assertion failed for DeviceResource {resource.name}, with value {text}")
    mapped = map_read(value, kind, mappings) if mappings else None
    return (kind, {"value": text}) if mapped is None else ("String", {"value": mapped})


def _transformed(value: Any, kind: str, resource: DeviceResource, *, transform: bool) -> tuple[str, Any]:
    if kind in FLOATS and not math.isfinite(number := checked_number(value, kind)):
        return "String", "NaN" if math.isnan(number) else "overflow"  # core-data rejects infinity
    if not transform:
        return kind, value
    try:
        return kind, transform_read(value, resource.properties)
    except Overflow:
        return "String", "overflow"


def _binary_fields(value: Any, resource: DeviceResource) -> dict[str, Any]:
    if not isinstance(value, bytes | memoryview) or not value:
        raise Invalid(f"{type(value).__name__} of length {len(value) if hasattr(value, '__len__') else 0} is no Binary")
    if len(value) > MAX_BINARY_BYTES:
        raise Invalid(f"{len(value)} bytes are more than a Binary reading may have, {MAX_BINARY_BYTES}")
    if not resource.properties.media_type:
        raise Invalid("a Binary resource needs a mediaType in its profile")
    return {"binary_value": bytes(value), "media_type": resource.properties.media_type}


def _checked_object(value: Any, kind: str) -> Any:
    if not isinstance(value, dict if kind == "Object" else list | tuple):
        raise Invalid(f"a {type(value).__name__} is no {kind}")
    return value
