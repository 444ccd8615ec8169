"""Value types: text as Go writes it, and everything Go reads."""

import base64
import contextlib
import math
import struct
import time
from typing import Any

import numpy as np
import pytest
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.values import (
    ARRAYS,
    INTEGERS,
    VALUE_TYPES,
    checked_number,
    encode_float,
    encode_value,
    parse_float,
    parse_value,
    round_float32,
)
from hypothesis import example, given
from hypothesis import strategies as st

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def values_of(kind: str) -> st.SearchStrategy[Any]:
    """Any value of a type that travels as text."""
    if kind in INTEGERS:
        return st.integers(*INTEGERS[kind])
    if kind.endswith("Array"):
        smallest = 0 if kind == "StringArray" else 1
        return st.lists(values_of(kind.removesuffix("Array")), min_size=smallest, max_size=5)
    width = 32 if kind == "Float32" else 64
    floats = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return {"Bool": st.booleans(), "String": st.text()}.get(kind, floats)


TYPED = st.sampled_from([kind for kind in VALUE_TYPES if kind not in ("Binary", "Object", "ObjectArray")]).flatmap(
    lambda kind: st.tuples(st.just(kind), values_of(kind))
)


@given(TYPED)
def test_a_value_of_any_type_reads_back_from_its_text(typed: tuple[str, Any]) -> None:
    kind, value = typed
    assert parse_value(encode_value(value, kind), kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, "Bool", "true"),
        (False, "bool", "false"),
        (-7, "Int8", "-7"),
        (18446744073709551615, "Uint64", "18446744073709551615"),
        (21.5, "Float32", "2.15e+01"),
        (3, "Float64", "3e+00"),
        ("", "String", ""),
        ([1, 2, 255], "Uint8Array", "[1, 2, 255]"),
        ([True, False], "BoolArray", "[true, false]"),
        ([1, 0.25], "Float32Array", "[1e+00, 2.5e-01]"),
        (["a", "b,c"], "StringArray", '["a","b,c"]'),
        ([], "StringArray", "[]"),
        (b"\x01\xff", "Uint8Array", "[1, 255]"),
        (np.uint8(7), "Uint8", "7"),
        (np.float32(0.1), "Float32", "1e-01"),
        (np.array([1, 2], np.int16), "Int16Array", "[1, 2]"),
        (np.bool_(True), "Bool", "true"),
    ],
)
def test_a_value_is_written_as_go_writes_it(value: Any, kind: str, text: str) -> None:
    assert encode_value(value, kind) == text


@pytest.mark.parametrize("kind", [kind for kind in ARRAYS if kind != "StringArray"])
def test_an_empty_array_is_never_written_because_core_data_cannot_take_it(kind: str) -> None:
    with pytest.raises(Invalid, match="empty"):
        encode_value([], kind)
    with pytest.raises(Invalid, match="empty"):
        parse_value("[]", kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (256, "Uint8"),
        (-1, "Uint8"),
        (128, "Int8"),
        (1.5, "Int8"),
        (True, "Int8"),
        ("1", "Int8"),
        (None, "Int8"),
        ("1.5", "Float32"),
        (True, "Float64"),
        (1, "Bool"),
        ("true", "Bool"),
        (5, "String"),
        ("abc", "StringArray"),
        ([1], "StringArray"),
        (5, "Int8Array"),
        ([300], "Uint8Array"),
        (b"x", "Binary"),
        ({}, "Object"),
        (1, "Int128"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(Invalid):
        encode_value(value, kind)


@pytest.mark.parametrize(
    ("given_", "kind", "value"),
    [
        ("1", "Bool", True),
        ("T", "Bool", True),
        ("FALSE", "Bool", False),
        (True, "Bool", True),
        (0, "Bool", False),
        ("+5", "Int8", 5),
        ("007", "Uint8", 7),
        (5, "Uint8", 5),
        (5.0, "Uint8", 5),
        (2**63, "Uint64", 2**63),
        ("1.5e1", "Float32", 15.0),
        (1.5, "Float64", 1.5),
        (3, "Float64", 3.0),
        (5, "String", "5"),
        (5.0, "String", "5"),
        (True, "String", "true"),
        ({"a": 1}, "String", '{"a":1}'),
        ("", "String", ""),
        ("[1, 2]", "Uint8Array", [1, 2]),
        ("1,2", "Uint8Array", [1, 2]),
        ([1, 2.0], "Uint8Array", [1, 2]),
        ("[-1, 2]", "Int8Array", [-1, 2]),
        ([0.5], "Float32Array", [0.5]),
        ("[true, false]", "BoolArray", [True, False]),
        ('["a","b,c"]', "StringArray", ["a", "b,c"]),
        (["a"], "StringArray", ["a"]),
        ({"a": [1]}, "Object", {"a": [1]}),
        ('{"a": 1}', "Object", {"a": 1}),
        (None, "Uint8", None),
        (None, "Object", None),
    ],
)
def test_a_text_or_natural_json_becomes_a_value(given_: Any, kind: str, value: Any) -> None:
    parsed = parse_value(given_, kind)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("given_", "kind", "cause"),
    [
        ("256", "Uint8", "256 is out of the range of Uint8, 0 to 255"),
        ("-1", "Uint8", "out of the range"),
        ("abc", "Int16", "'abc' is no Int16; expected a whole number from -32768 to 32767"),
        ("1.5", "Int16", "no Int16"),
        (1.5, "Int16", "no Int16"),
        ("1_0", "Int16", "no Int16"),
        (" 1", "Int16", "no Int16"),
        ("9" * 5000, "Uint64", "no Uint64"),
        (True, "Int16", "no Int16"),
        ("yes", "Bool", "'yes' is no Bool; expected true or false"),
        ("", "Int8", "empty string is invalid for Int8 value type"),
        (" ", "Bool", "empty string"),
        ("", "StringArray", "empty string"),
        ("[1,2", "Uint8Array", "expected"),
        ("[1,,2]", "Uint8Array", "no Uint8"),
        ("[[1]]", "Int8Array", "no Int8"),
        ("abc", "StringArray", "JSON array of texts"),
        ([1], "StringArray", "JSON array of texts"),
        ("abc", "Object", "expected a JSON object"),
        ([1], "Object", "a list is no Object"),
        ("AAA=", "Binary", "cannot be written"),
        ([{}], "ObjectArray", "cannot be written"),
        ("1", "Int128", "'Int128' is no value type"),
    ],
)
def test_what_cannot_be_a_value_says_why(given_: Any, kind: str, cause: str) -> None:
    with pytest.raises(Invalid, match=cause):
        parse_value(given_, kind)


@given(JSON_VALUES, st.sampled_from(VALUE_TYPES))
def test_any_json_is_a_value_or_invalid_and_nothing_worse(given_: Any, kind: str) -> None:
    with contextlib.suppress(Invalid):
        parse_value(given_, kind)


def test_numbers_of_numpy_become_pythons() -> None:
    assert type(checked_number(np.int64(5), "Int64")) is int
    assert type(checked_number(np.float32(0.5), "Float32")) is float
    assert math.isnan(checked_number(np.nan, "Float64"))


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


@given(FINITE32)
@example(2.0**-126)
@example(2.0**-149)
def test_a_float32_has_the_fewest_digits_that_numpy_finds(number: float) -> None:
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


@pytest.mark.fault(2)
@pytest.mark.parametrize("kind", ["Float64", "Float32Array", "Int64", "Bool", "StringArray", "Object"])
@pytest.mark.parametrize("piece", ["1", "0x1", ".1", "1e", "[", '{"a":', "+", "1,", "A", "\\"])
def test_any_long_text_is_a_value_or_invalid_within_a_moment(kind: str, piece: str) -> None:
    began = time.process_time()
    for end in ("", "x"):
        with contextlib.suppress(Invalid):
            parse_value(piece * (60_000 // len(piece)) + end, kind)
    assert time.process_time() - began < 0.5
