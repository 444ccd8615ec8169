"""No secret in any text a person reads."""

import pytest
from edgex_kit.wire.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter22@10.0.0.9:554/s1", "rtsp://***@10.0.0.9:554/s1"),
        ("rtsp://admin@10.0.0.9/s1", "rtsp://***@10.0.0.9/s1"),
        ("rtsp://admin:p@ss@cam/s1", "rtsp://***@cam/s1"),
        ("rtsp://admin:p/a#s?s@cam/s1", "rtsp://***@cam/s1"),
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
