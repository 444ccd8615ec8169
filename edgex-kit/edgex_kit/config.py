"""Configuration as a value: layers of trees, merged and checked once (contract 4.3-4.5). Pure: no file, no network.

Precedence: private over app/device common over all-services. Environment overrides change the layer of the file they
apply to, never what core-keeper already holds.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from edgex_kit.errors import Invalid
from edgex_kit.settings import Settings, Tree

S = TypeVar("S", bound=Settings)


def merge(*layers: Tree) -> Tree:
    """Later layers over earlier ones, key by key."""
    merged: Tree = {}
    for layer in layers:
        for key, value in layer.items():
            under = merged.get(key)
            merged[key] = merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every scalar of a tree with its path; lists become numbered keys, empty maps vanish, as in core-keeper."""
    for key, value in tree.items():
        below = dict(enumerate(value)) if isinstance(value, list | tuple) else value
        if isinstance(below, dict):
            yield from leaves({str(k): v for k, v in below.items()}, (*path, str(key)))
        elif value is not None:
            yield (*path, str(key)), value


def set_leaf(tree: Tree, path: tuple[str, ...], value: Any) -> None:
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
    return str(value).lower() if isinstance(value, bool) else str(value)


def env_name(path: tuple[str, ...]) -> str:
    """The variable that overrides a key: SERVICE_HOST, CLIENTS_CORE_METADATA_HOST."""
    return "_".join(path).replace("/", "_").replace(".", "_").replace("-", "_").upper()


def override(tree: Tree, environ: Mapping[str, str]) -> Tree:
    """`tree` with the environment's values for keys it has; the type follows the value that was there."""
    changed = merge(tree)
    for path, value in leaves(tree):
        text = environ.get(env_name(path))
        if text is not None:
            set_leaf(changed, path, _typed(text, value, path))
    return changed


def check(kind: type[S], *layers: tuple[str, Tree]) -> S:
    """The layers as one typed value. Raises Invalid naming the key and the layer it came from."""
    merged = merge(*(tree for _, tree in layers))
    try:
        return msgspec.convert(merged, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        path = tuple(where.rstrip("`").split("."))
        raise Invalid(f"configuration key {'.'.join(path)}{_source(path, layers)}: {what}") from error


def hidden(tree: Tree) -> Tree:
    """A copy of `tree` that may be shown: the values of insecure secrets are masked."""
    shown = merge(tree)
    secrets = shown.get("Writable", {}).get("InsecureSecrets", {})
    for name, secret in secrets.items() if isinstance(secrets, dict) else ():
        if isinstance(secret, dict) and isinstance(secret.get("SecretData"), dict):
            masked = dict.fromkeys(secret["SecretData"], "***")
            set_leaf(shown, ("Writable", "InsecureSecrets", name), {**secret, "SecretData": masked})
    return shown


def _typed(text: str, like: Any, path: tuple[str, ...]) -> Any:
    if isinstance(like, str):
        return text
    try:
        return msgspec.convert(text.strip(), type(like), strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"environment variable {env_name(path)}='{text}': {error}") from error


def _source(path: tuple[str, ...], layers: tuple[tuple[str, Tree], ...]) -> str:
    for name, tree in reversed(layers):
        node: Any = tree
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        if node is not None:
            return f" (from {name})"
    return ""
