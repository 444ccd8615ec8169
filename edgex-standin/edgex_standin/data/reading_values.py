"""The text of a reading's value: what core-data takes, and how it gives it back (contract 2.3, 8.1). Pure."""

import math
from typing import Any

from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.values import ARRAYS, FLOATS, INTEGERS, NUMBERS, encode_float, parse_float, parse_value

from edgex_standin.keeper.kv import text_of


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
