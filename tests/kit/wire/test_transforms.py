"""What a profile does to numbers, on the way out and on the way in."""

from typing import Any

import pytest
from edgex_kit.wire.devices import ResourceProperties
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.transforms import Overflow, check_range, map_read, map_write, transform_read, transform_write
from edgex_kit.wire.values import INTEGERS
from hypothesis import assume, given
from hypothesis import strategies as st


def profile(value_type: str, **fields: Any) -> ResourceProperties:
    return ResourceProperties(value_type=value_type, read_write="RW", **fields)


@pytest.mark.parametrize(
    ("raw", "properties", "value"),
    [
        (0b1111_0110, profile("Uint8", mask=0xF0), 0xF0),
        (0b1111_0110, profile("Uint8", shift=4), 0b1111),
        (0b0000_0110, profile("Uint8", shift=-4), 0b0110_0000),
        (0b1111_0110, profile("Uint8", shift=-4), 0b0110_0000),
        (-128, profile("Int8", shift=1), -64),
        (-1, profile("Int8", mask=0xFF), -1),
        (0b1111_0110, profile("Uint8", mask=0xF0, shift=4, scale=2, offset=1), 31),
        (3, profile("Uint8", base=2), 8),
        (3, profile("Uint8", base=2, scale=10, offset=-5), 75),
        (100, profile("Uint8", scale=0.1), 10),
        (70, profile("Uint8", scale=0.1), 7),
        (2**63 - 2, profile("Int64", offset=1), 2**63 - 1),
        (2.0, profile("Float64", scale=1.5, offset=0.25), 3.25),
        (2.0, profile("Float64", base=10), 100.0),
        (0.1, profile("Float32", scale=3), 0.30000001192092896),
        (5, profile("Uint8", mask=0, shift=0, base=0, scale=1, offset=0), 5),
        ("text", profile("String", scale=2), "text"),
        (None, profile("Uint8", scale=2), None),
    ],
)
def test_a_read_goes_through_mask_shift_base_scale_offset(raw: Any, properties: Any, value: Any) -> None:
    assert transform_read(raw, properties) == value


@pytest.mark.parametrize(
    ("raw", "properties"),
    [
        (200, profile("Uint8", scale=2)),
        (0, profile("Uint8", offset=-1)),
        (7, profile("Uint8", scale=0.5)),
        (9, profile("Uint8", base=2)),
        (1e308, profile("Float64", scale=10)),
        (1e38, profile("Float32", scale=10)),
        (1e9, profile("Float64", base=10)),
        (0.5, profile("Float64", base=-1)),
    ],
)
def test_a_result_that_does_not_fit_the_type_is_an_overflow(raw: Any, properties: Any) -> None:
    with pytest.raises(Overflow):
        transform_read(raw, properties)


@pytest.mark.parametrize(
    ("written", "properties", "raw"),
    [
        (31, profile("Uint8", shift=4, scale=2, offset=1), 0b1111_0000),
        (1000, profile("Uint16", base=10), 3),
        (10, profile("Uint8", scale=0.1), 100),
        (3.25, profile("Float64", scale=1.5, offset=0.25), 2.0),
        (0xFF, profile("Uint8", mask=0x0F), 0x0F),
        (None, profile("Uint8", scale=2), None),
        ("text", profile("String", scale=2), "text"),
    ],
)
def test_a_write_goes_the_way_back(written: Any, properties: Any, raw: Any) -> None:
    assert transform_write(written, properties) == raw


@pytest.mark.parametrize(
    ("written", "properties"),
    [
        (3, profile("Uint8", scale=2)),
        (3, profile("Uint8", scale=0)),
        (3.0, profile("Float64", scale=0)),
        (0, profile("Uint8", base=2)),
        (3, profile("Uint8", base=1)),
        (0, profile("Uint8", offset=1)),
    ],
)
def test_a_write_that_has_no_way_back_is_an_overflow(written: Any, properties: Any) -> None:
    with pytest.raises(Overflow):
        transform_write(written, properties)


@given(
    st.sampled_from(sorted(INTEGERS)),
    st.integers(-(2**63), 2**64),
    st.integers(1, 1000),
    st.integers(-1000, 1000),
)
def test_whole_numbers_come_back_with_every_digit(kind: str, raw: int, scale: int, offset: int) -> None:
    low, high = INTEGERS[kind]
    assume(low <= raw <= high and low <= raw * scale <= high and low <= raw * scale + offset <= high)
    properties = profile(kind, scale=float(scale), offset=float(offset))
    assert transform_write(transform_read(raw, properties), properties) == raw


@pytest.mark.parametrize("value", [300, -1, 1.5, "5", True])
def test_a_raw_value_that_is_not_of_its_type_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid):
        transform_read(value, profile("Uint8", scale=2))


def test_a_write_over_the_maximum_or_under_the_minimum_is_invalid() -> None:
    gain = profile("Uint8", minimum=10, maximum=100)
    check_range(10, gain)
    check_range(100, gain)
    check_range(None, gain)
    check_range("any", profile("String", maximum=1))
    with pytest.raises(Invalid, match="maximum value 100"):
        check_range(101, gain)
    with pytest.raises(Invalid, match="minimum value 10"):
        check_range(9, gain)


def test_mappings_name_values_on_a_read() -> None:
    mappings = {"1": "day", "true": "on"}
    assert map_read(1, "Uint8", mappings) == "day"
    assert map_read(2, "Uint8", mappings) is None
    assert map_read(True, "Bool", mappings) == "on"
    assert map_read(None, "Uint8", mappings) is None
    assert map_read({}, "Object", mappings) is None


def test_mappings_name_values_on_a_write() -> None:
    assert map_write("day", {"1": "day"}) == "1"
    assert map_write("dusk", {"1": "day"}) == "dusk"
    assert map_write(5, {}) == 5
