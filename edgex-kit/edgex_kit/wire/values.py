"""EdgeX's value types: Python values to the text of readings, and back (go-mod-core-contracts, dtos/reading.go).

What we write is exactly what Go writes; what we read is whatever Go's strconv and EdgeX's services accept.
"""

import base64
import binascii
import math
import operator
import re
import struct
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from edgex_kit.wire.errors import Invalid

FLOATS: dict[str, float] = {"Float32": (2 - 2**-23) * 2.0**127, "Float64": (2 - 2**-52) * 2.0**1023}  # highest value
_SIZES = (8, 16, 32, 64)
INTEGERS: dict[str, tuple[int, int]] = {  # lowest and highest value
    **{f"Uint{bits}": (0, 2**bits - 1) for bits in _SIZES},
    **{f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in _SIZES},
}
NUMBERS = (*INTEGERS, *FLOATS)
ARRAYS = (*(f"{item}Array" for item in ("Bool", "String", *NUMBERS)),)
VALUE_TYPES = ("Bool", "String", *NUMBERS, "Binary", "Object", "ObjectArray", *ARRAYS)

_BY_LOWER = {name.lower(): name for name in VALUE_TYPES}
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))  # Go's ParseBool
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[+-]?0x([0-9a-f]+(\.[0-9a-f]*)?|\.[0-9a-f]+)p[+-]?[0-9]+", re.IGNORECASE)
_SPECIAL = re.compile(r"[+-]?inf(inity)?|nan", re.IGNORECASE)


def canonical_type(name: str) -> str:
    """A value type in EdgeX's spelling; upper and lower case do not matter. Raises Invalid for an unknown one."""
    found = _BY_LOWER.get(name.lower())
    if found is None:
        raise Invalid(f"'{name}' is no value type; known are {', '.join(VALUE_TYPES)}")
    return found


def encode_value(value: Any, value_type: str) -> str:
    """The text of a value in a reading, as Go writes it. Raises Invalid for a value that is not of the type.

    Object, ObjectArray and Binary have no text: they travel as `objectValue` and `binaryValue`. An empty array has none
    either, except StringArray: core-data rejects it.
    """
    kind = canonical_type(value_type)
    if kind in ARRAYS:
        return _encode_items(value, kind)
    encode = _ENCODERS.get(kind)
    if encode is None:
        raise Invalid(f"{kind} is no type whose values are text")
    return encode(value, kind)


def parse_value(given: Any, value_type: str) -> Any:
    """The Python value of `given`: a reading's text, or the natural JSON of a PUT body; None stays None.

    Arrays become lists, Object a dict. Raises Invalid saying what was expected, for text that Go would refuse too.
    """
    kind = canonical_type(value_type)
    if given is None:
        return None
    if kind == "Object":
        return _parse_object(given)
    text = _text_of(given)
    if kind == "String":
        return text
    if not text.strip():
        raise Invalid(f"empty string is invalid for {kind} value type")
    if kind == "StringArray":
        return _parse_strings(text)
    if kind in ARRAYS:
        return _parse_items(text, kind)
    parse = _PARSERS.get(kind)
    if parse is None:
        raise Invalid(f"values of type {kind} cannot be written")
    return parse(text, kind)


def checked_number(value: Any, kind: str) -> int | float:
    """A value of one of NUMBERS, numpy's scalars too, as int or float. Raises Invalid when it is not of `kind`."""
    try:
        if isinstance(value, str | bool):
            raise TypeError
        if kind in INTEGERS:
            number = operator.index(value)  # no float
            return _in_range(number, kind, str(number))
        return round_float32(float(value)) if kind == "Float32" else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"{value!r} is no {kind}") from error


def _encode_items(value: Any, kind: str) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise Invalid(f"a {type(value).__name__} is no {kind}")
    if kind == "StringArray":
        return msgspec.json.encode([_checked_text(item, kind) for item in value]).decode()
    item_type = kind.removesuffix("Array")
    encode = _ENCODERS[item_type]
    texts = [encode(item, item_type) for item in value]
    if not texts:
        raise Invalid(f"an empty {kind} cannot be published")
    return f"[{', '.join(texts)}]"


def _encode_bool(value: Any, kind: str) -> str:
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's has either name
        return "true" if value else "false"
    raise Invalid(f"{value!r} is no {kind}")


def _checked_text(value: Any, kind: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{value!r} is no text, as {kind} needs")
    return value


def _encode_number(value: Any, kind: str) -> str:
    number = checked_number(value, kind)
    return str(number) if kind in INTEGERS else encode_float(number, kind)


def _text_of(given: Any) -> str:
    """What Go makes of a JSON value before it is parsed by type."""
    return given if isinstance(given, str) else msgspec.json.encode(_as_go_prints(given)).decode()


def _as_go_prints(given: Any) -> Any:
    """`5.0` is the number 5; from 1e21 on Go writes an exponent."""
    if isinstance(given, float) and given.is_integer() and abs(given) < 1e21:
        return int(given)
    return [_as_go_prints(item) for item in given] if isinstance(given, list) else given


def _parse_bool(text: str, kind: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise Invalid(f"'{text}' is no {kind}; expected true or false")


def _parse_integer(text: str, kind: str) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > 64:
        low, high = INTEGERS[kind]
        raise Invalid(f"'{text[:64]}' is no {kind}; expected a whole number from {low} to {high}")
    return _in_range(int(text), kind, text)


def _parse_items(text: str, kind: str) -> list[Any]:
    body = text.strip()
    if body.startswith("[") != body.endswith("]"):
        raise Invalid(f"'{text[:64]}' is no {kind}; expected [a, b, ...]")
    body = body.removeprefix("[").removesuffix("]")
    if not body.strip():
        raise Invalid(f"an empty {kind} is not allowed")
    item_type = kind.removesuffix("Array")
    return [_PARSERS[item_type](item.strip(), item_type) for item in body.split(",")]


def _parse_strings(text: str) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Invalid(f"'{text[:64]}' is no StringArray; expected a JSON array of texts") from error


def _parse_object(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Invalid("the value is no Object; expected a JSON object") from error
    if not isinstance(given, dict):
        raise Invalid(f"a {type(given).__name__} is no Object; expected a JSON object")
    return given


def _in_range(number: int, kind: str, text: str) -> int:
    low, high = INTEGERS[kind]
    if not low <= number <= high:
        raise Invalid(f"{text} is out of the range of {kind}, {low} to {high}")
    return number


def encode_float(number: float, kind: str) -> str:
    """The shortest digits that read back to the same Float32 or Float64, one before the point: 2.15e+01."""
    if kind == "Float32":
        number = round_float32(number)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else f"{number:+}".replace("inf", "Inf")
    if kind == "Float32":
        return _shortest_float32(number)
    shortest = Decimal(repr(number))
    mantissa, _, exponent = f"{shortest.normalize():e}".partition("e")
    return f"{mantissa}e{int(exponent) if shortest else 0:+03d}"


def parse_float(text: str, kind: str) -> float:
    """The number, rounded to its type; NaN and infinity by name. Raises Invalid for what is none, or out of range.

    Hexadecimal floats are taken as Go takes them, and base64 of big-endian IEEE 754 as EdgeX does.
    """
    if _SPECIAL.fullmatch(text):
        return float(text)
    if _DECIMAL.fullmatch(text):
        number = float(text)
    elif _HEXADECIMAL.fullmatch(text):
        number = _from_hexadecimal(text)
    else:
        return _float_from_bytes(text, kind)
    if kind == "Float32":
        number = round_float32(number)
    if not math.isfinite(number):
        raise Invalid(f"{text} is out of the range of {kind}")
    return number


def _from_hexadecimal(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return math.inf


def _float_from_bytes(text: str, kind: str) -> float:
    size, form = (4, ">f") if kind == "Float32" else (8, ">d")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"'{text[:64]}' is no {kind}; expected a number") from error
    if len(raw) != size or math.isnan(struct.unpack(form, raw)[0]):
        raise Invalid(f"'{text[:64]}' is no {kind}; expected a number")
    return float(struct.unpack(form, raw)[0])


def round_float32(value: float) -> float:
    """The nearest value that 32 bits can hold; infinity when it is too big."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _shortest_float32(number: float) -> str:
    """Digits of a float32: at most 9 are needed. At a power of two the nearest short text may lie just outside, and the
    one above it inside, because the values below are twice as dense."""
    is_power = abs(math.frexp(number)[0]) == 0.5
    for digits in range(9):
        nearest = f"{number:.{digits}e}"
        if round_float32(float(nearest)) == number:
            return nearest
        if not is_power:
            continue
        mantissa, _, exponent = nearest.partition("e")
        above = f"{Decimal(mantissa) + (Decimal(1) if number > 0 else Decimal(-1)).scaleb(-digits)}e{exponent}"
        if round_float32(float(above)) == number:
            return above
    return f"{number:.9e}"


_ENCODERS: dict[str, Callable[[Any, str], str]] = {
    "Bool": _encode_bool,
    "String": _checked_text,
    **dict.fromkeys(NUMBERS, _encode_number),
}
_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "Bool": _parse_bool,
    **dict.fromkeys(INTEGERS, _parse_integer),
    **dict.fromkeys(FLOATS, parse_float),
}
