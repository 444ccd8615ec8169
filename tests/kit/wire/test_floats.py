"""Floats as Go writes and reads them."""

import base64
import math
import struct

import numpy as np
import pytest
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.floats import encode_float, parse_float, round_float32
from hypothesis import example, given
from hypothesis import strategies as st

FINITE32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FINITE64 = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3.14, "3.14e+00"),
        (1.25, "1.25e+00"),
        (1.0, "1e+00"),
        (0.0, "0e+00"),
        (-0.0, "-0e+00"),
        (-2e-05, "-2e-05"),
        (1e100, "1e+100"),
        (1e22, "1e+22"),
        (5e-324, "5e-324"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_a_float64_is_written_as_go_formats_it(number: float, text: str) -> None:
    assert encode_float(number, "Float64") == text


def test_a_float32_has_the_digits_of_32_bits() -> None:
    assert encode_float(0.1, "Float32") == "1e-01"
    assert encode_float(21.5, "Float32") == "2.15e+01"
    assert encode_float(1 / 3, "Float32") == "3.3333334e-01"
    assert encode_float(1 / 3, "Float64") == "3.333333333333333e-01"


@given(FINITE64)
def test_a_float64_reads_back_to_itself(number: float) -> None:
    assert parse_float(encode_float(number, "Float64"), "Float64") == number


@given(FINITE32)
def test_a_float32_reads_back_to_itself(number: float) -> None:
    assert parse_float(encode_float(number, "Float32"), "Float32") == number


@given(FINITE32)
@example(2.0**-126)
@example(2.0**-149)
def test_a_float32_has_the_fewest_digits_that_numpy_finds(number: float) -> None:
    expected = np.format_float_scientific(np.float32(number), unique=True, trim="-", exp_digits=2)
    assert encode_float(number, "Float32") == expected


def test_every_power_of_two_has_the_fewest_digits() -> None:
    for exponent in range(-149, 128):
        number = 2.0**exponent
        expected = np.format_float_scientific(np.float32(number), unique=True, trim="-", exp_digits=2)
        assert encode_float(number, "Float32") == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5.0), (".5", 0.5), ("5.", 5.0), ("+1e3", 1000.0), ("0x1p-2", 0.25), ("0X.8P1", 1.0), ("1E+02", 100.0)],
)
def test_every_form_that_go_parses_is_read(text: str, number: float) -> None:
    assert parse_float(text, "Float64") == number


@pytest.mark.parametrize("text", ["inf", "-Inf", "+Infinity", "INF"])
def test_infinity_is_read_by_name(text: str) -> None:
    assert math.isinf(parse_float(text, "Float64"))


def test_nan_is_read_by_name() -> None:
    assert math.isnan(parse_float("NaN", "Float32"))


def test_base64_of_big_endian_bytes_is_read() -> None:
    assert parse_float(base64.b64encode(struct.pack(">f", 1.5)).decode(), "Float32") == 1.5
    assert parse_float(base64.b64encode(struct.pack(">d", 1.5)).decode(), "Float64") == 1.5


@pytest.mark.parametrize("text", ["", " 1", "1_000", "one", "1,5", "0x1", "٣", "AAAA", "f8AAAA==", "1e"])
def test_text_that_is_no_float_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="no Float32"):
        parse_float(text, "Float32")


@pytest.mark.parametrize(
    ("text", "kind"), [("1e39", "Float32"), ("1e309", "Float64"), ("0x1p1024", "Float64"), ("0x1p128", "Float32")]
)
def test_a_number_out_of_range_is_invalid(text: str, kind: str) -> None:
    with pytest.raises(Invalid, match=f"out of the range of {kind}"):
        parse_float(text, kind)


@given(FINITE64)
def test_rounding_to_32_bits_is_numpys(number: float) -> None:
    with np.errstate(over="ignore"):
        assert round_float32(number) == float(np.float32(number))
