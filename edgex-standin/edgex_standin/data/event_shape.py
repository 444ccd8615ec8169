"""An event on its way to core-data: what it must have, and how it is stored (contract 2.1-2.4, 2.3). Pure."""

import base64
import binascii
from typing import Any

from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.values import canonical_type

from edgex_standin import shapes
from edgex_standin.data.reading_values import stored_text
from edgex_standin.shapes import Field, ListOf, MapOf, Shape

_NAME = "required,edgex-dto-none-empty-string"
UNREADABLE = "Failed to unmarshal the byte array."

_READING = Shape(
    "Readings",
    (
        Field("Origin", "int", "required", "always"),
        Field("DeviceName", "string", _NAME, "always"),
        Field("ResourceName", "string", _NAME, "always"),
        Field("ProfileName", "string", _NAME, "always"),
        Field("ValueType", "string", "required,edgex-dto-value-type", "always"),
        Field("Units", "string"),
        Field("Tags", MapOf("any")),
        Field("Value", "any", "", "given"),
        Field("BinaryValue", "any", "", "given"),
        Field("MediaType", "string"),
        Field("ObjectValue", "any", "", "given"),
    ),
    exact=True,
)
_EVENT = Shape(
    "Event",
    (
        Field("Versionable.ApiVersion", "string", "required", "always"),
        Field("Id", "string", "required,uuid", "always"),
        Field("DeviceName", "string", _NAME, "always"),
        Field("ProfileName", "string", _NAME, "always"),
        Field("SourceName", "string", _NAME, "always"),
        Field("Origin", "int", "required", "always"),
        Field("Readings", ListOf(_READING), "gt=0", "always"),
        Field("Tags", MapOf("any")),
    ),
    exact=True,
)
_REQUEST = Shape(
    "AddEventRequest",
    (
        Field("BaseRequest.Versionable.ApiVersion", "string", "required"),
        Field("BaseRequest.RequestId", "string", "len=0|uuid", "always"),
        Field("Event", _EVENT, "", "always"),
    ),
)

Event = dict[str, Any]
Reading = dict[str, Any]


def take_event(body: Any) -> tuple[Event, str]:
    """The event of an AddEventRequest as it is stored, and the request's id. Raises Invalid with Go's words.

    A stored reading has `value`, `binaryValue` (bytes) or `objectValue`, or none of them: then it is null.
    """
    try:
        taken = _REQUEST.take(body)
    except RecursionError as error:
        raise Invalid(UNREADABLE) from error
    except Invalid as error:
        raise Invalid(UNREADABLE if str(error) == shapes.UNREADABLE else str(error)) from error
    event = taken["event"]
    event["readings"] = [_reading(reading) for reading in event["readings"]]
    return event, taken["requestId"]


def _reading(reading: Reading) -> Reading:
    kind = reading["valueType"] = canonical_type(reading["valueType"])
    value, data = reading.pop("value", None), reading.pop("binaryValue", None)
    if kind != "Binary":
        reading.pop("mediaType", None)
    if kind not in ("Object", "ObjectArray"):
        reading.pop("objectValue", None)
    if kind == "Binary":
        _take_binary(reading, data)
    elif kind not in ("Object", "ObjectArray") and value is not None:
        reading["value"] = stored_text(value, kind)
    return reading


def _take_binary(reading: Reading, data: Any) -> None:
    if data is None:
        return
    if isinstance(data, str):
        try:
            data = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid(UNREADABLE) from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise Invalid(UNREADABLE)
    if data and not reading.get("mediaType"):
        rule = "validation failed on the required_with tag with value 'BinaryValue'"
        raise Invalid(f"BinaryReading.MediaType field {rule}")
    reading["binaryValue"] = bytes(data)
