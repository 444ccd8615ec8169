"""Go's validate tags and what they say when they are broken (go-mod-core-contracts common/validator.go). Pure."""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
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
