"""device_camera.sources.multipart: bytes in, whole parts out."""

import itertools

import pytest
from device_camera.sources.multipart import Multipart
from edgex_kit.wire.errors import Malformed
from hypothesis import given
from hypothesis import strategies as st

PARTS = [b"one", b"\xff\xd8 two \r\n\r\n \xff\xd9", b"3" * 5000]


def stream(parts: list[bytes], *, has_length: bool = True, has_head: bool = True, newline: bytes = b"\r\n") -> bytes:
    out = b""
    for part in parts:
        out += b"--edge" + newline
        if has_head:
            out += b"Content-Type: image/jpeg" + newline
        if has_length:
            out += b"Content-Length: %d" % len(part) + newline
        out += newline + part + newline
    return out + b"--edge" + newline


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("has_length", [True, False])
def test_parts_come_out_as_they_went_in(has_length: bool, newline: bytes) -> None:
    assert Multipart("edge").feed(stream(PARTS, has_length=has_length, newline=newline)) == PARTS


def test_parts_without_any_head_come_out() -> None:
    assert Multipart("edge").feed(stream(PARTS, has_length=False, has_head=False)) == PARTS


@given(cuts=st.lists(st.integers(0, 5400), max_size=20), has_length=st.booleans())
def test_where_the_network_cuts_the_stream_does_not_matter(cuts: list[int], has_length: bool) -> None:
    data, multipart = stream(PARTS, has_length=has_length), Multipart("edge")
    edges = [0, *sorted(cuts), len(data)]
    found = [part for start, end in itertools.pairwise(edges) for part in multipart.feed(data[start:end])]
    assert found == PARTS


def test_a_boundary_that_has_its_dashes_already_is_found() -> None:
    assert Multipart("--edge").feed(stream(PARTS)) == PARTS


def test_a_part_is_given_as_soon_as_its_announced_length_is_there() -> None:
    assert Multipart("edge").feed(b"--edge\r\nContent-Length: 3\r\n\r\nabc") == [b"abc"]


def test_what_comes_before_the_first_boundary_is_skipped() -> None:
    assert Multipart("edge").feed(b"hello camera\r\n" + stream(PARTS)) == PARTS


def test_a_wrong_length_damages_one_part_and_not_the_stream() -> None:
    data = b"--edge\r\nContent-Length: 2\r\n\r\nabcdef\r\n" + stream([b"next"])
    assert Multipart("edge").feed(data) == [b"ab", b"next"]


def test_the_closing_boundary_ends_the_stream() -> None:
    multipart = Multipart("edge")
    assert multipart.feed(stream([b"last"])[:-2] + b"--\r\n") == [b"last"]
    assert multipart.is_over


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 3000,
        b"--edge\r\nContent-Length: 5000\r\n\r\n",
        b"--edge\r\n\r\n" + b"x" * 3000,
        b"--edge\r\n" + b"x" * 20_000,
    ],
)
def test_a_stream_that_would_fill_the_memory_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        Multipart("edge", largest=2000).feed(data)
