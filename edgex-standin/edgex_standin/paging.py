"""offset, limit and labels of every list (contract 3.2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgex_kit.wire.errors import Invalid, OutOfRange

DEFAULT_LIMIT = 20
MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted; `limit` is never negative."""

    offset: int
    limit: int
    labels: tuple[str, ...] = ()

    def from_start(self) -> "Page":
        """Itself, with an offset of -1 (do not count) as 0."""
        return replace(self, offset=max(self.offset, 0))

    def within(self, total: int) -> "Page":
        """Itself. Raises OutOfRange for an offset behind the end of `total` items, but not where there is nothing."""
        if total and self.limit and self.offset > total:
            raise OutOfRange(f"query objects bounds out of range. length:{total} offset:{self.offset}")
        return self

    def of(self, count: Callable[[], int], select: Callable[["Page"], list[Any]]) -> tuple[list[Any], int]:
        """This part of a list, and how long the list is; 0 when nobody is to count. Raises OutOfRange."""
        if self.offset < 0:
            return select(self.from_start()), 0
        total = count()
        return select(self.within(total)), total


def page_of(query: Mapping[str, str], most: int, *, least_offset: int = 0) -> Page:
    """The page a query asks for; `limit=-1` is as many as `most`. Raises Invalid with Go's text."""
    offset = integer(query, "offset", 0, least_offset, MAX_INT32)
    limit = integer(query, "limit", min(DEFAULT_LIMIT, most), -1, most)
    labels = tuple(label.strip() for label in query.get("labels", "").split(",") if label.strip())
    return Page(offset, most if limit == -1 else limit, labels)


def integer(query: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    """A number out of a query. Raises Invalid with Go's text."""
    text = query.get(key, "")
    if not text:
        return default
    number = parse_integer(f"querystring {key}", text)
    if not least <= number <= most:
        raise Invalid(f"querystring {key}'s value {number} is out of min {least} ~ max {most} range.")
    return number


def time_range(path: Mapping[str, str]) -> tuple[int, int]:
    """`start` and `end` of a path, in nanoseconds. Raises Invalid with Go's text."""
    start, end = (_path_integer(path, key) for key in ("start", "end"))
    if end < start:
        raise Invalid(f"end's value {end} is not allowed to be less than start's value {start}")
    return start, end


def _path_integer(path: Mapping[str, str], key: str) -> int:
    number = parse_integer(f"path param {key}", path[key], "ParseInt")
    if not 0 <= number <= MAX_INT64:
        raise Invalid(f"path param {key}'s value {number} is out of min 0 ~ max {MAX_INT64} range.")
    return number


def parse_integer(what: str, text: str, function: str = "Atoi") -> int:
    """A number out of a text. Raises Invalid as Go's `function` puts it."""
    body = text.strip()
    digits = body.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        cause = f'Error:strconv.{function}: parsing "{body}": invalid syntax'
        raise Invalid(f"failed to parse {what}'s value {text} into integer. {cause}")
    return int(body)


def boolean(query: Mapping[str, str], key: str) -> bool:
    """A flag out of a query, as Go's ParseBool reads it. Raises Invalid."""
    text = query.get(key, "").strip()
    if text in ("", "0", "f", "F", "false", "FALSE", "False"):
        return False
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    raise Invalid(
        f'failed to parse querystring {key} into bool. Error:strconv.ParseBool: parsing "{text}": invalid syntax'
    )
