"""Configuration as a value: layers of trees, merged and checked once. Pure: no file, no network.

Precedence: private over app/device common over all-services. Environment overrides change the layer of the file they
apply to, never what core-keeper already holds.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from edgex_kit.config.settings import Settings, Tree
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.redact import MASK, redact

S = TypeVar("S", bound=Settings)
Path = tuple[str, ...]

_SECRET_KEY = re.compile(r"password|passphrase|keypemblock|token$", re.IGNORECASE)


def merge(*layers: Tree) -> Tree:
    """Later layers over earlier ones, key by key, as a tree of its own."""
    merged: Tree = {}
    for layer in layers:
        for key, value in layer.items():
            under = merged.get(key)
            merged[key] = merge(under if isinstance(under, dict) else {}, value) if isinstance(value, dict) else value
    return merged


def leaves(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar of a tree with its path; lists become numbered keys, empty maps vanish, as in core-keeper."""
    for key, value in tree.items():
        below = dict(enumerate(value)) if isinstance(value, list | tuple) else value
        if isinstance(below, dict):
            yield from leaves({str(k): v for k, v in below.items()}, (*path, str(key)))
        elif value is not None:
            yield (*path, str(key)), value


def at(tree: Tree, path: Path) -> Any:
    """What is at `path`, or None."""
    node: Any = tree
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def set_leaf(tree: Tree, path: Path, value: Any) -> None:
    """Put `value` at `path`, making the maps on the way."""
    for key in path[:-1]:
        below = tree.get(key)
        if not isinstance(below, dict):
            below = tree[key] = {}
        tree = below
    tree[path[-1]] = value


def tree_from_keys(pairs: Mapping[str, str], prefix: str) -> Tree:
    """core-keeper's flat keys below `prefix` as a tree."""
    tree: Tree = {}
    for key, value in sorted(pairs.items()):
        if key.startswith(prefix + "/"):
            set_leaf(tree, tuple(key[len(prefix) + 1 :].split("/")), value)
    return tree


def text_of(value: Any) -> str:
    """A scalar as core-keeper stores it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def env_name(path: Path) -> str:
    """The variable that overrides a key: SERVICE_HOST, CLIENTS_CORE_METADATA_HOST."""
    return "_".join(path).replace("/", "_").replace(".", "_").replace("-", "_").upper()


def override(tree: Tree, environ: Mapping[str, str]) -> Tree:
    """`tree` with the environment's values for keys it has; the type follows the value that was there.

    A list takes comma-separated text. Raises Invalid naming the variable.
    """
    changed = merge(tree)
    for path, value in _overridable(tree):
        text = environ.get(env_name(path))
        if text is not None:
            set_leaf(changed, path, _typed(text, value, path))
    return changed


def check(kind: type[S], *layers: tuple[str, Tree]) -> S:
    """The layers as one typed value. Raises Invalid naming the key and the layer it came from.

    Scalars are read as text, as core-keeper holds them, so that a file means the same as the keys made from it.
    """
    merged = _texts(merge(*(tree for _, tree in layers)))
    try:
        return msgspec.convert(merged, kind, strict=False)
    except msgspec.ValidationError as error:
        what, path = _located(kind, merged, error)
        raise Invalid(f"configuration key {'.'.join(path)}{_source(path, layers)}: {what}") from error


def hidden(tree: Tree, *, masked: bool = False) -> Tree:
    """A copy of `tree` that may be shown: the values of secrets, passwords, and credentials in URLs are masked."""
    shown: Tree = {}
    for key, value in tree.items():
        secret = masked or bool(_SECRET_KEY.search(str(key)))
        if isinstance(value, dict):
            shown[key] = hidden(value, masked=secret or key == "SecretData")
        elif secret and value not in ("", None):
            shown[key] = MASK
        else:
            shown[key] = redact(value) if isinstance(value, str) else value
    return shown


def _overridable(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _overridable(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _typed(text: str, like: Any, path: Path) -> Any:
    if isinstance(like, str) or like is None:
        return text
    if isinstance(like, list):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return msgspec.convert(text.strip(), type(like), strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"environment variable {env_name(path)}='{text}': {error}") from error


def _texts(tree: Tree) -> Tree:
    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return _texts(value)
        return [text(item) for item in value] if isinstance(value, list) else text_of(value)

    return {str(key): text(value) for key, value in tree.items() if value is not None}


def _located(kind: type[S], merged: Tree, error: msgspec.ValidationError) -> tuple[str, Path]:
    """What is wrong, and the path of the key it is wrong at."""
    what, _, where = str(error).partition(" - at `$")
    path: Path = ()
    for part in filter(None, where.rstrip("`").replace("[...]", ".*").split(".")):  # some key of a map
        path = (*path, _culprit(kind, merged, path, str(error)) if part == "*" else part)
    return what, path


def _culprit(kind: type[S], merged: Tree, path: Path, complaint: str) -> str:
    """The key of the map at `path` that is complained about: the one that brings the complaint when it is alone."""
    for key, value in (at(merged, path) or {}).items():
        alone = merge(merged)
        set_leaf(alone, path, {key: value})
        try:
            msgspec.convert(alone, kind, strict=False)
        except msgspec.ValidationError as error:
            if str(error) == complaint:
                return str(key)
    return "?"


def _source(path: Path, layers: tuple[tuple[str, Tree], ...]) -> str:
    for name, tree in reversed(layers):
        if at(tree, path) is not None:
            return f" (from {name})"
    return ""
