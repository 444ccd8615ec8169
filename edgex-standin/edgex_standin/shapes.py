"""What a request must look like, in Go's words of refusal (go-mod-core-contracts v4 common/validator.go). Pure.

A `Shape` is Go's struct: its fields in order, each with its kind and its validate tag. `take` does at once what Go does
in three steps: it finds the fields whatever the case of their keys and ignores unknown keys (encoding/json), collects
what breaks a rule (validator), and returns the document as Go would write it, without empty optional fields."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.values import canonical_type

_Given = Mapping[str, Any]


def broken_rule(tag: str, value: Any, path: str, given: _Given, *, is_pointer: bool = False) -> list[str]:
    """The text of the first rule of `tag` that `value` breaks, or nothing; `given` are its neighbours, keys lowered.

    What is behind a pointer counts as there, empty or not.
    """
    is_there = value is not None if is_pointer else value not in (None, "", 0, {})
    for rule in tag.split(","):
        name, _, param = rule.partition("=")
        if name == "omitempty":
            if not is_there:
                return []
        elif not (name == "required" and is_pointer and is_there) and not _CHECKS[name](value, param, given):
            return [_text(rule, path)]
    return []


def _text(rule: str, path: str) -> str:
    name, _, param = rule.partition("=")
    texts = {
        "required": f"{path} field is required",
        "required_without": f"{path} field is required if the {param} is not present",
        "uuid": f"{path} field needs a uuid",
        "edgex-dto-uuid": f"{path} field needs a uuid",
        "oneof": f"{path} field should be one of {param}",
        "gt": f"{path} field should greater than {param}",
        "edgex-dto-none-empty-string": f"{path} field should not be empty string",
        "edgex-dto-duration": f"{path} field should follows the ISO 8601 Durations format, e.g.,100ms, 24h, "
        f"or be greater than or equal to the minimum value {param} ",
    }
    if "|" in rule:
        return f"{path} field validation failed on the {rule} tag with value ''"
    return texts.get(name, f"{path} field validation failed on the {name} tag with value '{param}'")


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in its usual spelling."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return len(text) == 36


def _lasts(text: Any, least: str) -> bool:
    try:
        return parse_duration(text) >= (parse_duration(least) if least else float("-inf"))
    except Invalid:
        return False


def _required(value: Any, _param: str, _given: _Given) -> bool:
    """A map or list may be empty but must be there; anything else must not be Go's zero."""
    return value is not None if isinstance(value, dict | list) or value is None else bool(value)


def _required_without(value: Any, param: str, given: _Given) -> bool:
    return value is not None or given.get(param.lower()) is not None


def _update_id(value: Any, _param: str, given: _Given) -> bool:
    """An id may be empty when there is a name."""
    return value is None or (not str(value).strip() and bool(given.get("name"))) or is_uuid(str(value))


def _value_type(value: Any, _param: str, _given: _Given) -> bool:
    try:
        return bool(canonical_type(str(value)))
    except Invalid:
        return False


def _empty_or(value: Any, param: str, given: _Given) -> bool:
    """len=0|<rule>: empty, or as the other rule wants it."""
    return value == "" or _CHECKS[param.partition("|")[2]](value, "", given)


def _uri(value: Any, _param: str, _given: _Given) -> bool:
    try:
        return bool(urlsplit(str(value)).scheme) or str(value).startswith("/")
    except ValueError:
        return False


_CHECKS: dict[str, Callable[[Any, str, _Given], bool]] = {
    "required": _required,
    "required_without": _required_without,
    "uuid": lambda value, _param, _given: is_uuid(str(value)),
    "len": _empty_or,
    "edgex-dto-uuid": _update_id,
    "edgex-dto-none-empty-string": lambda value, _param, _given: value is None or bool(str(value).strip()),
    "edgex-dto-duration": lambda value, param, _given: _lasts(value, param),
    "edgex-dto-value-type": _value_type,
    "oneof": lambda value, param, _given: value in re.findall(r"'([^']*)'", param),
    "gt": lambda value, param, _given: (len(value) if value is not None else 0) > int(param),
    "gte": lambda value, param, _given: value >= float(param),
    "uri": _uri,
}


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
