"""Floats as Go writes and reads them: FormatFloat(value, 'e', -1, bits) and ParseFloat (contract 2.3, 6.3)."""

import base64
import binascii
import math
import re
import struct
from decimal import Decimal

from edgex_kit.wire.errors import Invalid

FLOATS: dict[str, float] = {"Float32": (2 - 2**-23) * 2.0**127, "Float64": (2 - 2**-52) * 2.0**1023}  # highest value

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[+-]?0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.IGNORECASE)
_SPECIAL = re.compile(r"[+-]?inf(inity)?|nan", re.IGNORECASE)


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
