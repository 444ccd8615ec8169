"""Go's durations."""

import contextlib
import time

import pytest
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("5s", 5),
        ("1m30s", 90),
        ("1h", 3600),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("100ns", 1e-7),
        ("1d", 86400),
        ("0", 0),
        ("0s", 0),
        ("-1s", -1),
        ("+1s", 1),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5sec", "1s 2s", "abc", "-", "1e3s", "--1s", "-+1s", "٣s"])
def test_text_that_is_no_duration_is_named_in_the_error(text: str) -> None:
    with pytest.raises(Invalid, match="no duration") as caught:
        parse_duration(text)
    assert f"'{text}'" in str(caught.value)


@given(st.integers(0, 999), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_terms_add_up(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"
    assert parse_duration(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@given(st.text(max_size=20))
def test_any_other_text_is_invalid_and_nothing_worse(text: str) -> None:
    with contextlib.suppress(Invalid):
        parse_duration(text)


@pytest.mark.fault(2)
@pytest.mark.parametrize("piece", ["1", ".1", "1s", "1m1", "-"])
def test_any_long_text_is_invalid_within_a_moment(piece: str) -> None:
    began = time.process_time()
    with pytest.raises(Invalid):
        parse_duration(piece * 60_000)
    assert time.process_time() - began < 0.2
