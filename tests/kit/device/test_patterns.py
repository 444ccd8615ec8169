"""POSIX expressions over whole names, as Go's regexp.CompilePOSIX reads them; only the last two refusals are ours."""

import time

import pytest
from edgex_kit.device.patterns import compile_posix
from edgex_kit.wire.errors import Invalid


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("Frame", "Frame", True),
        ("Frame", "Frames", False),
        ("a.c", "abc", True),
        ("Frame.*", "FrameWidth", True),
        ("(a|b)*c", "ababc", True),
        ("a|ab", "ab", True),  # leftmost-longest: the longer choice wins wherever it stands
        ("a{2,3}", "aaaa", False),
        ("a{2,}", "aaaa", True),
        ("a{2}", "aaa", False),
        ("x{,2}", "x{,2}", True),  # no repeat, so plain text
        ("{", "{", True),
        ("x**", "xx", True),
        ("x*?", "xx", True),  # not Perl's lazy repeat, but an optional one
        ("[[:alpha:]_]+", "Frame_", True),
        ("[[:^digit:]]+", "abc1", False),
        ("[]a]+", "]a", True),
        ("[^]a]+", "bc", True),
        ("[a-c-]+", "a-b", True),
        (r"[\]]", "]", True),
        (r"a\.c", "abc", False),
        ("^a$", "a", True),
        ("a^b", "ab", False),
        ("", "", True),
        ("a|", "", True),
        ("(a|)b", "b", True),
        (".", "\n", False),
        ("Größe", "Größe", True),
    ],
)
def test_a_text_matches_as_a_whole_or_not(pattern: str, text: str, *, expected: bool) -> None:
    assert compile_posix(pattern)(text) is expected


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[rotation", "missing closing ]: `[rotation`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("(?:a)", "missing argument to repetition operator: `?`"),
        (r"\d", r"invalid escape sequence: `\d`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(" * 60 + ")" * 60, "expression nests too deeply"),
        ("a" * 1001, "more than 1000 characters"),
    ],
)
def test_what_go_does_not_understand_is_refused_in_its_words(pattern: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_posix(pattern)
    assert f"error parsing regexp: {why}" in str(caught.value)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a*)*b", "((a*)*)*b", "(a|a|aa)+b", "(a{1,1000}){1,1000}b"])
def test_no_pattern_keeps_the_service_busy(pattern: str) -> None:
    begin = time.monotonic()
    assert compile_posix(pattern)("a" * 60) is False
    assert time.monotonic() - begin < 1
