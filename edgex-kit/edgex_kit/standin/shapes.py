"""What a request must look like, in the words Go refuses it with (go-mod-core-contracts dtos/*.go, common/validator.go).

A `Shape` is Go's struct: its fields in order, each with its kind and its validate tag. `take` does three things at once
that Go does apart: it finds the fields whatever the case of their keys and forgets unknown keys (encoding/json), collects
what breaks a rule (validator), and gives back the document as Go would write it, empty optional fields left out. Pure.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from edgex_kit.errors import Invalid
from edgex_kit.standin.rules import broken_rule

UNREADABLE = "Failed to unmarshal request body as JSON."

Scalar = Literal["string", "bool", "int", "float", "any"]
_ZERO: dict[str, Any] = {"string": "", "bool": False, "int": 0, "float": 0, "any": None}
_PYTHON: dict[str, tuple[type, ...]] = {"string": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A Go slice."""

    kind: "Kind"
    dive: bool = False  # whether the rules of its items are checked


@dataclass(frozen=True, slots=True)
class MapOf:
    """A Go map with string keys."""

    kind: "Kind"
    item_rules: str = ""  # for keys and values alike


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct. `presence` says when it is written: always, when it is not empty, or when it was given."""

    go: str
    kind: "Kind"
    rules: str = ""
    presence: Literal["always", "filled", "given"] = "filled"

    @property
    def key(self) -> str:
        return self.go[0].lower() + self.go[1:]


@dataclass(frozen=True, slots=True)
class Shape:
    """A Go struct."""

    go: str
    fields: tuple[Field, ...] = field(default=())

    def take(self, value: Any) -> dict[str, Any]:
        """`value` as Go would store it. Raises Invalid with all broken rules."""
        broken: list[str] = []
        taken: dict[str, Any] = _struct(self, value, self.go, broken)
        if broken:
            raise Invalid("; ".join(broken))
        return taken


Kind = Scalar | ListOf | MapOf | Shape


def _struct(shape: Shape, value: Any, path: str, broken: list[str]) -> dict[str, Any]:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise Invalid(UNREADABLE)
    given = {str(key).lower(): item for key, item in value.items()}
    taken: dict[str, Any] = {}
    for one in shape.fields:
        raw = given.get(one.key.lower())
        below = f"{path}.{one.go}"
        read = _read(one.kind, raw, below, broken)
        if one.rules:
            broken += broken_rule(one.rules, read if one.presence != "given" or raw is not None else None, below, given)
        if one.presence == "always" or (raw is not None if one.presence == "given" else _is_filled(read)):
            taken[one.key] = read
    return taken


def _read(kind: Kind, raw: Any, path: str, broken: list[str]) -> Any:
    if isinstance(kind, Shape):
        return _struct(kind, raw, path, broken)
    if isinstance(kind, ListOf):
        return _list(kind, raw, path, broken)
    if isinstance(kind, MapOf):
        return _map(kind, raw, path, broken)
    if raw is None:
        return _ZERO[kind]
    if kind != "any" and (not isinstance(raw, _PYTHON[kind]) or (isinstance(raw, bool) and kind != "bool")):
        raise Invalid(UNREADABLE)
    return raw


def _list(kind: ListOf, raw: Any, path: str, broken: list[str]) -> list[Any] | None:
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise Invalid(UNREADABLE)
    found = broken if kind.dive else []
    return [_read(kind.kind, item, f"{path}[{index}]", found) for index, item in enumerate(raw)]


def _map(kind: MapOf, raw: Any, path: str, broken: list[str]) -> dict[str, Any] | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise Invalid(UNREADABLE)
    taken = {key: _read(kind.kind, item, f"{path}[{key}]", broken) for key, item in raw.items()}
    for key, item in taken.items() if kind.item_rules else ():
        broken += broken_rule(kind.item_rules, key, f"{path}[{key}]", {})
        broken += broken_rule(kind.item_rules, item, f"{path}[{key}]", {})
    return taken


def _is_filled(value: Any) -> bool:
    """Whether Go's omitempty would write it."""
    return value not in (None, "", 0, [], {}) or value is True
