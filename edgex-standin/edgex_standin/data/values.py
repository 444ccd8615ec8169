"""Events and the values of their readings, as core-data checks and stores them. Pure."""

import base64
import binascii
import math
from typing import Any

from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.values import (
    ARRAYS,
    FLOATS,
    INTEGERS,
    NUMBERS,
    canonical_type,
    encode_float,
    parse_float,
    parse_value,
)

from edgex_standin import shapes
from edgex_standin.keeper.kv import text_of
from edgex_standin.shapes import Field, ListOf, MapOf, Shape


class NotStorable(Invalid):
    """A number that core-data's database does not take."""


def stored_text(value: Any, kind: str) -> str:
    """The value as core-data 4.0.2 stores it: numbers in one form, anything else as it came. Raises Invalid.

    An empty array text, at which core-data 4.0 panics, is refused like any other that does not match.
    """
    text = value if isinstance(value, str) else text_of(value)
    try:
        if kind in ARRAYS:
            return _checked_array(text, kind)
        return text if kind == "String" else _scalar(text, kind)
    except NotStorable:
        raise
    except (Invalid, ValueError) as error:
        raise Invalid(f"The value does not match the {kind} valueType") from error


def number_of(text: str, kind: str) -> Any:
    """A stored text as JSON numbers, for `?numeric=true`; text stays text where the type has no numbers."""
    if kind in NUMBERS:
        return float(text) if kind in FLOATS else int(text)
    if kind in ARRAYS and kind.removesuffix("Array") in NUMBERS:
        convert = float if kind.removesuffix("Array") in FLOATS else int
        return [convert(item) for item in text[1:-1].split(",")]
    return text


def scalar_of(text: str, kind: str) -> Any:
    """The same, save that arrays stay text."""
    return number_of(text, kind) if kind in NUMBERS else text


def as_text(text: str, _kind: str) -> str:
    """A stored text as it is."""
    return text


def _scalar(text: str, kind: str) -> str:
    if kind in FLOATS:
        return encode_float(_float(text, kind), kind)
    if kind.startswith("Uint") and text.startswith(("+", "-")):
        raise Invalid(text)
    value = parse_value(text, kind)
    return str(value) if kind in INTEGERS else text


def _float(text: str, kind: str) -> float:
    """Infinity and hexadecimal floats are numbers for Go and none for its database; base64 is for commands alone."""
    if text.endswith("="):
        raise Invalid(text)
    number = parse_float(text, kind)
    if math.isinf(number) or "x" in text.lower():
        raise NotStorable(f"invalid numeric value '{text}'")
    return number + 0.0  # the database knows no -0


def _checked_array(text: str, kind: str) -> str:
    if len(text) < 2:
        raise Invalid(text)
    for item in text[1:-1].split(",") if kind != "StringArray" else ():
        _scalar(item.strip(), kind.removesuffix("Array"))
    return text


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
