"""What a request must look like, in the words Go refuses it with (go-mod-core-contracts common/validator.go). Pure.

A `Shape` is Go's struct: its fields in order, each with its kind and its validate tag. `take` does at once what Go does
in three steps: it finds the fields whatever the case of their keys and forgets unknown keys (encoding/json), collects
what breaks a rule (validator), and gives back the document as Go would write it, empty optional fields left out.
"""

from dataclasses import dataclass
from typing import Any, Literal

from edgex_kit.wire.errors import Invalid

from edgex_standin.rules import broken_rule

UNREADABLE = "Failed to unmarshal request body as JSON."

Scalar = Literal["string", "bool", "int", "uint", "float", "any"]
_ZERO: dict[str, Any] = {"string": "", "bool": False, "int": 0, "uint": 0, "float": 0, "any": None}
_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "int": (int,),
    "uint": (int,),
    "float": (int, float),
}

_RANGES = {"int": (-(2**63), 2**63 - 1), "uint": (0, 2**64 - 1)}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A Go slice; the rules of its items are checked (dive)."""

    kind: "Kind"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A Go map with string keys."""

    kind: "Kind"
    item_rules: str = ""  # for keys and values alike


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct; `go` is its path in Go, where embedded structs show, and ends in the name of its key.

    `presence` says when it is written: always, when it is not empty (omitempty), or when it was given (a pointer).
    """

    go: str
    kind: "Kind"
    rules: str = ""
    presence: Literal["always", "filled", "given"] = "filled"

    @property
    def key(self) -> str:
        name = self.go.rpartition(".")[2]
        return name[0].lower() + name[1:]


@dataclass(frozen=True, slots=True)
class Shape:
    """A Go struct."""

    go: str
    fields: tuple[Field, ...] = ()
    exact: bool = False  # whether the case of its keys matters, as it does for events since go-mod-core-contracts 4.0.3

    def take(self, value: Any, *, lax: bool = False) -> dict[str, Any]:
        """`value` as Go would store it. Raises Invalid with all broken rules.

        `lax` takes numbers and booleans for strings, as YAML's Go decoder does.
        """
        taking = _Taking(lax)
        taken = taking.struct(self, value, self.go)
        if taking.broken:
            raise Invalid("; ".join(taking.broken))
        return taken

    def tidy(self, doc: dict[str, Any]) -> dict[str, Any]:
        """`doc` without optional fields that an update has emptied."""
        optional = {one.key for one in self.fields if one.presence == "filled"}
        return {key: value for key, value in doc.items() if key not in optional or _is_filled(value)}


Kind = Scalar | ListOf | MapOf | Shape


class _Taking:
    """One run over one document."""

    def __init__(self, lax: bool) -> None:
        self.broken: list[str] = []
        self._lax = lax

    def struct(self, shape: Shape, value: Any, path: str) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            raise Invalid(UNREADABLE)
        exact = shape.exact
        given = {key if exact else str(key).lower(): item for key, item in (value or {}).items()}
        taken: dict[str, Any] = {}
        for one in shape.fields:
            raw = given.get(one.key if exact else one.key.lower())
            read = self._field(one, raw, f"{path}.{one.go}", given)
            if one.presence == "always" or (raw is not None if one.presence == "given" else _is_filled(read)):
                taken[one.key] = read
        return taken

    def _field(self, one: Field, raw: Any, path: str, given: dict[str, Any]) -> Any:
        """Own rules come before those of what is inside, as the validator walks."""
        at = len(self.broken)
        read = self._read(one.kind, raw, path)
        if one.rules:
            is_pointer = one.presence == "given"
            value = None if is_pointer and raw is None else read
            self.broken[at:at] = broken_rule(one.rules, value, path, given, is_pointer=is_pointer)
        return read

    def _read(self, kind: Kind, raw: Any, path: str) -> Any:
        if isinstance(kind, Shape):
            return self.struct(kind, raw, path)
        if isinstance(kind, ListOf):
            return self._list(kind, raw, path)
        if isinstance(kind, MapOf):
            return self._map(kind, raw, path)
        return self._scalar(kind, raw)

    def _scalar(self, kind: Scalar, raw: Any) -> Any:
        if raw is None:
            return _ZERO[kind]
        if kind == "any":
            return raw
        if self._lax and kind == "string" and isinstance(raw, bool | int | float):
            return str(raw).lower() if isinstance(raw, bool) else str(raw)
        if not isinstance(raw, _PYTHON[kind]) or (isinstance(raw, bool) and kind != "bool"):
            raise Invalid(UNREADABLE)
        if isinstance(raw, int) and kind in _RANGES and not _RANGES[kind][0] <= raw <= _RANGES[kind][1]:
            raise Invalid(UNREADABLE)
        return raw

    def _list(self, kind: ListOf, raw: Any, path: str) -> list[Any] | None:
        if raw is None:
            return None
        if not isinstance(raw, list):
            raise Invalid(UNREADABLE)
        return [self._read(kind.kind, item, f"{path}[{index}]") for index, item in enumerate(raw)]

    def _map(self, kind: MapOf, raw: Any, path: str) -> dict[str, Any] | None:
        if raw is None:
            return None
        if not isinstance(raw, dict):
            raise Invalid(UNREADABLE)
        taken = {}
        for key, item in raw.items():
            taken[str(key)] = read = self._read(kind.kind, item, f"{path}[{key}]")
            for value in (key, read) if kind.item_rules else ():
                self.broken += broken_rule(kind.item_rules, value, f"{path}[{key}]", {})
        return taken


def _is_filled(value: Any) -> bool:
    """Whether Go's omitempty would write it."""
    return value is True or value not in (None, "", 0, [], {})
