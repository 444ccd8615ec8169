"""POSIX extended regular expressions over whole names, as Go's regexp.CompilePOSIX reads them (contract 6.2); pure.

Python's `re` is no help here: it speaks another dialect (`\\d`, `(?:`, no `[[:alpha:]]`), and a pattern out of a URL
could keep it busy for ever. This one does at most (size of the pattern) x (length of the name)^2 steps.

A node says where a match that begins at a place of the text can end; for a match of the whole text, leftmost-longest
makes no difference.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgex_kit.wire.errors import Invalid

_LONGEST = 1000  # characters of a pattern
_MOST_REPEATS = 1000  # as in Go
_DEEPEST = 50  # brackets within brackets
_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CLASSES: dict[str, Callable[[str], bool]] = {
    "alnum": lambda char: char.isascii() and char.isalnum(),
    "alpha": lambda char: char.isascii() and char.isalpha(),
    "ascii": str.isascii,
    "blank": lambda char: char in "\t ",
    "cntrl": lambda char: char < " " or char == "\x7f",
    "digit": lambda char: "0" <= char <= "9",
    "graph": lambda char: "!" <= char <= "~",
    "lower": lambda char: "a" <= char <= "z",
    "print": lambda char: " " <= char <= "~",
    "punct": lambda char: "!" <= char <= "~" and not char.isalnum(),
    "space": lambda char: char in "\t\n\v\f\r ",
    "upper": lambda char: "A" <= char <= "Z",
    "word": lambda char: char == "_" or (char.isascii() and char.isalnum()),
    "xdigit": lambda char: char in "0123456789abcdefABCDEF",
}

Ends = frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class _One:
    """One character."""

    fits: Callable[[str], bool]


@dataclass(frozen=True, slots=True, eq=False)
class _Edge:
    """The begin (`^`) or the end (`$`) of a line."""

    is_begin: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    parts: tuple["_Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    parts: tuple["_Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Repeat:
    part: "_Node"
    least: int
    most: int | None  # None: without an end


_Node = _One | _Edge | _Sequence | _Choice | _Repeat


def compile_posix(pattern: str) -> Callable[[str], bool]:
    """Whether a text as a whole matches `pattern`. Raises Invalid with the place that Go would not understand."""
    if len(pattern) > _LONGEST:
        raise Invalid(f"error parsing regexp: more than {_LONGEST} characters")
    node = _Parser(pattern).parse()
    return lambda text: len(text) in _Matcher(text).ends(node, 0)


class _Matcher:
    """Remembers for one text what it has found out already; that is what bounds the work."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[tuple[int, int], Ends] = {}

    def ends(self, node: _Node, at: int) -> Ends:
        key = id(node), at
        if key not in self._known:
            self._known[key] = self._find(node, at)
        return self._known[key]

    def _find(self, node: _Node, at: int) -> Ends:
        match node:
            case _One(fits):
                return frozenset({at + 1} if at < len(self._text) and fits(self._text[at]) else ())
            case _Edge(is_begin):
                return frozenset({at} if self._is_edge(at, is_begin=is_begin) else ())
            case _Sequence(parts):
                places = frozenset({at})
                for part in parts:
                    places = self._all(part, places)
                return places
            case _Choice(parts):
                return frozenset(end for part in parts for end in self.ends(part, at))
            case _Repeat(part, least, most):
                return self._repeated(part, at, least, most)

    def _repeated(self, part: _Node, at: int, least: int, most: int | None) -> Ends:
        places, count = frozenset({at}), 0
        while count < least and places:
            places, before = self._all(part, places), places
            count = least if places == before else count + 1
        found = frontier = places
        while frontier and (most is None or count < most):
            frontier = self._all(part, frontier) - found
            found |= frontier
            count += 1
        return found

    def _all(self, part: _Node, places: Iterable[int]) -> Ends:
        return frozenset(end for place in places for end in self.ends(part, place))

    def _is_edge(self, at: int, *, is_begin: bool) -> bool:
        if is_begin:
            return at == 0 or self._text[at - 1] == "\n"
        return at == len(self._text) or self._text[at] == "\n"


class _Parser:
    """Recursive descent: choice, sequence, repeats, atoms."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def parse(self) -> _Node:
        node = self._choice()
        if self._at < len(self._pattern):
            raise self._broken("unexpected )", self._pattern)
        return node

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            parts.append(self._repeats(self._atom()))
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _repeats(self, node: _Node) -> _Node:
        while True:
            bounds = self._bounds()
            if bounds is None:
                return node
            node = _Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        return self._braces()

    def _braces(self) -> tuple[int, int | None] | None:
        """`{2}`, `{2,}`, `{2,5}`; what does not look so is no repeat but plain text, as in Go."""
        end = self._pattern.find("}", self._at)
        if not self._pattern.startswith("{", self._at) or end < 0:
            return None
        text = self._pattern[self._at : end + 1]
        least, comma, most = text[1:-1].partition(",")
        if not _is_number(least) or (most and not _is_number(most)):
            return None
        bounds = int(least), (int(most) if most else None) if comma else int(least)
        if max(bounds[0], bounds[1] or 0) > _MOST_REPEATS or (bounds[1] is not None and bounds[0] > bounds[1]):
            raise self._broken("invalid repeat count", text)
        self._at = end + 1
        return bounds

    def _atom(self) -> _Node:
        char = self._next()
        match char:
            case "(":
                return self._group()
            case "[":
                return _One(self._bracket())
            case "*" | "+" | "?":
                raise self._broken("missing argument to repetition operator", char)
            case ".":
                return _One(lambda other: other != "\n")
            case "^" | "$":
                return _Edge(char == "^")
            case "\\":
                char = self._escaped()
        return _One(lambda other: other == char)

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._broken("expression nests too deeply", self._pattern)
        node = self._choice()
        if not self._take(")"):
            raise self._broken("missing closing )", self._pattern)
        self._depth -= 1
        return node

    def _bracket(self) -> Callable[[str], bool]:
        begin = self._at - 1
        negated = self._take("^")
        tests: list[Callable[[str], bool]] = []
        while not tests or not self._take("]"):  # the first ] is a member, not the end
            self._check_open(begin)
            tests.append(self._member(begin))
        if negated:
            return lambda char: char != "\n" and not any(test(char) for test in tests)
        return lambda char: any(test(char) for test in tests)

    def _member(self, begin: int) -> Callable[[str], bool]:
        if self._pattern.startswith("[:", self._at):
            end = self._pattern.find(":]", self._at + 2)
            if end >= 0:
                return self._named(end)
        char = self._next()
        return self._range(self._escaped() if char == "\\" else char, begin)

    def _named(self, end: int) -> Callable[[str], bool]:
        text = self._pattern[self._at : end + 2]
        name = text[2:-2].removeprefix("^")
        if name not in _CLASSES:
            raise self._broken("invalid character class range", text)
        self._at = end + 2
        test = _CLASSES[name]
        return (lambda char: not test(char)) if text[2] == "^" else test

    def _range(self, low: str, begin: int) -> Callable[[str], bool]:
        """`low` alone, or `low-high`."""
        after = self._pattern[self._at : self._at + 2]
        if not after.startswith("-") or after == "-]" or len(after) < 2:
            return lambda char: char == low
        self._at += 1
        high = self._next()
        if high == "\\":
            high = self._escaped()
        if high < low:
            raise self._broken("invalid character class range", f"{low}-{high}")
        self._check_open(begin)
        return lambda char: low <= char <= high

    def _escaped(self) -> str:
        """The character a backslash and what follows stand for; letters beyond Go's few are Perl's, not POSIX's."""
        if self._at >= len(self._pattern):
            raise self._broken("trailing backslash at end of expression", "")
        char = self._next()
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char.isascii() and not char.isalnum():
            return char
        raise self._broken("invalid escape sequence", f"\\{char}")

    def _check_open(self, begin: int) -> None:
        if self._at >= len(self._pattern):
            raise self._broken("missing closing ]", self._pattern[begin:])

    def _next(self) -> str:
        char = self._pattern[self._at]
        self._at += 1
        return char

    def _take(self, sign: str) -> bool:
        if self._pattern.startswith(sign, self._at):
            self._at += len(sign)
            return True
        return False

    @staticmethod
    def _broken(why: str, where: str) -> Invalid:
        return Invalid(f"error parsing regexp: {why}: `{where}`")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
