"""No secret in any text a person reads, and no text that costs more than its length."""

import time

import pytest
from edgex_kit.wire.redact import LIMIT, printable, redact
from hypothesis import example, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter22@10.0.0.9:554/s1", "rtsp://***@10.0.0.9:554/s1"),
        ("rtsp://admin@10.0.0.9/s1", "rtsp://***@10.0.0.9/s1"),
        ("rtsp://admin:p@ss@cam/s1", "rtsp://***@cam/s1"),
        ("rtsp://admin:p/a#s?s@cam/s1", "rtsp://***@cam/s1"),
        ("RTSP://:hunter22@cam", "RTSP://***@cam"),
        ("http://cam/snap.jpg?user=a&password=b&x=1", "http://cam/snap.jpg?user=a&password=***&x=1"),
        ("http://cam/snap.jpg?loginuse=a&loginpas=b", "http://cam/snap.jpg?loginuse=a&loginpas=***"),
        ("http://cam/a?TOKEN=t0", "http://cam/a?TOKEN=***"),
        ("http://localhost:59890 refused", "http://localhost:59890 refused"),
        ("mail me at a@b.org", "mail me at a@b.org"),
        ("'rtsp://u:p@one/x', 'http://two/y@z'", "'rtsp://***@one/x', 'http://two/y@z'"),
    ],
)
def test_credentials_in_urls_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_known_secrets_are_masked_wherever_they_are() -> None:
    assert redact("login with hunter22 failed: hunter22x", ["hunter22", ""]) == "login with *** failed: ***x"


def test_a_secret_inside_a_longer_one_leaves_nothing_of_it() -> None:
    assert redact("hunter22-and-more", ["hunter22", "hunter22-and-more"]) == "***"


def test_a_short_secret_is_masked_as_a_word_and_not_inside_others() -> None:
    assert redact("user cam of camera cam-1", ["cam"]) == "user *** of camera ***-1"


@pytest.mark.fault(2)
def test_a_long_name_is_shortened_and_the_rest_of_the_message_stays() -> None:
    shown = redact(f"device '{'a' * 60_000}' does not exist")
    assert len(shown) < 400
    assert shown.endswith("' does not exist")


@pytest.mark.fault(2)
@pytest.mark.parametrize("secret", ["hunter22", "rtsp://u:hunter22@cam"])
@pytest.mark.parametrize("shown", range(1, 21))
def test_cutting_a_text_shows_no_part_of_a_secret(secret: str, shown: int) -> None:
    text = "x" * (64 * LIMIT - 1 - shown) + " " + secret + " y" * LIMIT
    assert "hun" not in redact(text, ["hunter22"])
    assert "u:" not in redact(text)


_PIECES = st.sampled_from(
    ["a", "://", "a://", "@", ":", "/", "?password=", "&", "x@", "http://a:", "\x1b[2J", "\n", " ", "'", "é", "%", "="]
)
_LONG = st.tuples(st.lists(_PIECES, min_size=1, max_size=6), st.integers(1, 60_000)).map(
    lambda it: "".join(it[0]) * (it[1] // len(it[0]))
)


@pytest.mark.fault(2)
@given(_LONG)
@example("a" * 60_000)
@example("a://" * 20_000)
@example("a:/" * 20_000)
@example("a://b@" * 10_000)
@example("a://b?@" * 10_000)
@example("?key=" * 20_000)
@example("ab " * 30_000)
@settings(deadline=None, max_examples=60)
def test_any_text_is_redacted_in_time_that_grows_with_its_length(text: str) -> None:
    began = time.process_time()
    shown = redact(text, ["hunter22", "cam"])
    printable(shown)
    assert time.process_time() - began < 0.25 + len(text) * 2e-6
    assert len(shown) <= LIMIT + 40


@pytest.mark.fault(5)
@given(st.text())
def test_a_printable_text_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.fault(5)
def test_what_is_not_printable_is_escaped() -> None:
    assert printable("\x1b[2J\n\u202eä") == r"\x1b[2J\n\u202eä"
