"""A profile's arithmetic between device and reading, and back on a write (device-sdk-go, internal/transformer).

Read: mask, shift, base, scale, offset. Write: range check, then the same in reverse. Every step's result must fit the
resource's type, or it is an Overflow. Two things differ from device-sdk-go on purpose: whole numbers are scaled by the
factor as it is written, where Go first cuts it to the integer type (a Uint8 of 100 scaled by 0.1 is 10 here, 0 there),
and they keep all their digits, where Go goes through float64.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from edgex_kit.wire.devices import ResourceProperties
from edgex_kit.wire.errors import EdgexError, Invalid
from edgex_kit.wire.values import FLOATS, INTEGERS, NUMBERS, canonical_type, checked_number, encode_value, round_float32


class Overflow(EdgexError):
    """A result that does not fit the resource's type."""


def transform_read(value: Any, properties: ResourceProperties) -> Any:
    """The value of the reading for the device's `value`; a value of no number type stays as it is.

    Raises Overflow, and Invalid for a value that is not of the resource's type.
    """
    kind = canonical_type(properties.value_type)
    if value is None or kind not in NUMBERS:
        return value
    value = checked_number(value, kind)
    if kind in INTEGERS:
        value = _masked(value, properties.mask, kind)
        value = _shifted(value, properties.shift or 0, kind)
    if properties.base:
        value = _power(value, properties.base, kind)
    if properties.scale is not None and properties.scale != 1:
        value = _scaled(value, properties.scale, kind)
    if properties.offset:
        value = _moved(value, properties.offset, kind)
    return value


def transform_write(value: Any, properties: ResourceProperties) -> Any:
    """The value sent to the device when a caller wrote `value`. Raises Overflow, and Invalid as `transform_read`."""
    kind = canonical_type(properties.value_type)
    if value is None or kind not in NUMBERS:
        return value
    value = checked_number(value, kind)
    if properties.offset:
        value = _moved(value, -properties.offset, kind)
    if properties.scale is not None and properties.scale != 1:
        value = _unscaled(value, properties.scale, kind)
    if properties.base:
        value = _logarithm(value, properties.base, kind)
    if kind in INTEGERS:
        value = _shifted(value, -(properties.shift or 0), kind)
        value = _masked(value, properties.mask, kind)
    return value


def check_range(value: Any, properties: ResourceProperties) -> None:
    """Raises Invalid for a number to be written that is over `maximum` or under `minimum`."""
    if value is None or canonical_type(properties.value_type) not in NUMBERS:
        return
    if properties.maximum is not None and value > properties.maximum:
        raise Invalid(f"set command parameter out of maximum value {properties.maximum:g}: {value}")
    if properties.minimum is not None and value < properties.minimum:
        raise Invalid(f"set command parameter out of minimum value {properties.minimum:g}: {value}")


def map_read(value: Any, value_type: str, mappings: Mapping[str, str]) -> str | None:
    """What a command's `mappings` make of a read value; None when they do not name it."""
    kind = canonical_type(value_type)
    if value is None or kind in ("Binary", "Object", "ObjectArray"):
        return None
    return mappings.get(encode_value(value, kind))


def map_write(given: Any, mappings: Mapping[str, str]) -> Any:
    """The value whose mapping `given` is, or `given` itself."""
    return next((key for key, mapped in mappings.items() if mapped == given), given)


def _masked(value: int, mask: int | None, kind: str) -> int:
    return _wrapped(value & mask, kind) if mask else value


def _shifted(value: int, shift: int, kind: str) -> int:
    """Positive is to the right, negative to the left, bits that leave the type are lost: as in device-sdk-go."""
    return _wrapped(value >> shift if shift > 0 else value << min(-shift, 64), kind) if shift else value


def _power(value: float, base: float, kind: str) -> int | float:
    try:
        return _whole_or_float(math.pow(base, value), kind)
    except (OverflowError, ValueError) as error:
        raise Overflow(f"{base:g} to the power of {value} is no {kind}") from error


def _logarithm(value: float, base: float, kind: str) -> int | float:
    try:
        exponent = math.log(value) / math.log(base)
    except (ValueError, ZeroDivisionError) as error:
        raise Overflow(f"{value} has no logarithm to the base {base:g}") from error
    nearest = round(exponent)
    return _whole_or_float(float(nearest) if math.isclose(exponent, nearest, rel_tol=1e-12) else exponent, kind)


def _scaled(value: float, factor: float, kind: str) -> int | float:
    return _whole(Fraction(value) * _exact(factor), kind) if kind in INTEGERS else _fitting(value * factor, kind)


def _unscaled(value: float, factor: float, kind: str) -> int | float:
    if factor == 0:
        raise Overflow("a scale of 0 cannot be reversed")
    return _whole(Fraction(value) / _exact(factor), kind) if kind in INTEGERS else _fitting(value / factor, kind)


def _moved(value: float, offset: float, kind: str) -> int | float:
    return _whole(Fraction(value) + _exact(offset), kind) if kind in INTEGERS else _fitting(value + offset, kind)


def _exact(factor: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth, not the nearest binary fraction."""
    return Fraction(repr(factor))


def _whole_or_float(result: float, kind: str) -> int | float:
    return _whole(Fraction(result), kind) if kind in INTEGERS else _fitting(result, kind)


def _whole(result: Fraction, kind: str) -> int:
    low, high = INTEGERS[kind]
    if result.denominator != 1 or not low <= result <= high:
        raise Overflow(f"{float(result):g} is no {kind}")
    return int(result)


def _fitting(result: float, kind: str) -> float:
    if math.isnan(result) or abs(result) > FLOATS[kind]:
        raise Overflow(f"{result:g} is no {kind}")
    return round_float32(result) if kind == "Float32" else result


def _wrapped(value: int, kind: str) -> int:
    low, high = INTEGERS[kind]
    return (value - low) % (high - low + 1) + low
