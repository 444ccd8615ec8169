"""The text of a reading's value: what core-data takes, and how it gives it back (contract 2.3, 8.1). Pure."""

import math
from typing import Any

from edgex_kit.errors import Invalid
from edgex_kit.floats import FLOATS, encode_float, parse_float
from edgex_kit.standin.kv import text_of
from edgex_kit.values import ARRAYS, INTEGERS, NUMBERS, parse_value


def stored_text(value: Any, kind: str) -> str:
    """The value as core-data 4.0.2 stores it: numbers in one form, anything else as it came. Raises Invalid.

    An empty array text, at which core-data 4.0 panics, is refused like any other that does not match.
    """
    text = value if isinstance(value, str) else text_of(value)
    try:
        if kind in ARRAYS and kind != "StringArray":
            return _checked_array(text, kind)
        return text if kind in ("String", "StringArray") else _scalar(text, kind)
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


def _scalar(text: str, kind: str) -> str:
    if kind in FLOATS:
        return encode_float(_float(text, kind), kind)
    if kind.startswith("Uint") and text.startswith(("+", "-")):
        raise Invalid(text)
    value = parse_value(text, kind)
    return str(value) if kind in INTEGERS else text


def _float(text: str, kind: str) -> float:
    """Infinity cannot be stored, and base64 is a form for commands alone."""
    if text.endswith("=") or math.isinf(number := parse_float(text, kind)):
        raise Invalid(text)
    return number


def _checked_array(text: str, kind: str) -> str:
    if len(text) < 2:
        raise Invalid(text)
    for item in text[1:-1].split(","):
        _scalar(item.strip(), kind.removesuffix("Array"))
    return text
