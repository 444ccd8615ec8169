"""device_camera.sources.http_auth: the examples of the RFCs, and what cameras really send."""

import re

import pytest
from device_camera.sources.base import Credentials
from device_camera.sources.http_auth import Challenge, build_authorization, parse_challenges

MUFASA = Credentials("Mufasa", "Circle of Life")  # RFC 7616, section 3.9.1
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
ONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OFFER = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={0}, '
    f'nonce="{NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616_hold(algorithm: str, response: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: ONCE)
    offers = parse_challenges([OFFER.format(algorithm)])
    answer = build_authorization(offers, "GET", "/dir/index.html", MUFASA)
    assert answer is not None
    assert f'response="{response}"' in answer
    assert f"algorithm={algorithm}" in answer
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in answer
    assert "qop=auth, nc=00000001" in answer


def test_the_example_of_rfc_2617_without_qop_holds() -> None:
    # RFC 2069, section 2.4, with the response of its errata 749.
    offers = parse_challenges(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])
    answer = build_authorization(offers, "GET", "/dir/index.html", Credentials("Mufasa", "CircleOfLife"))
    assert answer is not None
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in answer
    assert "cnonce" not in answer


def test_the_strongest_offer_is_taken() -> None:
    both = parse_challenges([OFFER.format("MD5"), 'Basic realm="x"', OFFER.format("SHA-256")])
    answer = build_authorization(both, "GET", "/", MUFASA)
    assert answer is not None
    assert re.match(r"Digest .*algorithm=SHA-256", answer)


def test_offers_in_one_header_are_told_apart() -> None:
    offers = parse_challenges(['Digest realm="a, Basic b", nonce="n", Basic realm="c"'])
    assert offers == [
        Challenge("digest", {"realm": "a, Basic b", "nonce": "n"}),
        Challenge("basic", {"realm": "c"}),
    ]


def test_basic_holds_any_password() -> None:
    assert build_authorization([Challenge("basic", {})], "GET", "/", Credentials("a", "ü:@")) == "Basic YTrDvDpA"


def test_an_unknown_offer_is_not_answered() -> None:
    assert build_authorization(parse_challenges(["Negotiate abc", "Bearer x"]), "GET", "/", MUFASA) is None
    assert build_authorization(parse_challenges(['Digest nonce="n", algorithm=MD4']), "GET", "/", MUFASA) is None


def test_quotes_in_a_user_do_not_break_out() -> None:
    answer = build_authorization([Challenge("digest", {"nonce": "n"})], "GET", "/", Credentials('a"b\\', "p"))
    assert answer is not None
    assert r'username="a\"b\\"' in answer
