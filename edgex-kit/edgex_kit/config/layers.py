"""Configuration as a value: layers of trees, merged and checked once. Pure: no file, no network.

Precedence: private over app/device common over all-services. Environment overrides change the layer of the file they
apply to, never what core-keeper already holds.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from edgex_kit.config.settings import Settings, Tree
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.redact import MASK, redact

S = TypeVar("S", bound=Settings)
Path = tuple[str, ...]

_OTHERS = ("CLIENTS_SECURITY_SECRETSTORE_SETUP_",)  # variables of EdgeX that are no keys of the configuration
_EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<limit>[^,]*)")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "object": "a section of keys",
    "array": "a list",
}
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


def remove(tree: Tree, path: Path) -> None:
    """Remove what is at `path`, if anything is."""
    for key in path[:-1]:
        tree = tree.get(key, {})
    if isinstance(tree, dict):
        tree.pop(path[-1], None)


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


def override(tree: Tree, environ: Mapping[str, str], kind: type[S] | None = None, *others: Tree) -> Tree:
    """`tree` with the environment's values, as text, for the keys of the merged configuration: its own, those of
    `others`, the weaker layers, and those of `kind` that no layer has. A list takes comma-separated text."""
    changed = merge(tree)
    for path, value in _overridable(kind, merge(*others, tree)).items():
        text = environ.get(env_name(path))
        if text is not None:
            set_leaf(changed, path, _listed(text) if isinstance(value, list | tuple) else text.strip())
    return changed


def unknown_variables(environ: Mapping[str, str], kind: type[S], *layers: Tree) -> Iterator[tuple[str, str]]:
    """Variables that begin as a section of the configuration does and are no key, with the nearest one, or ""."""
    known = {env_name(path) for path in _overridable(kind, merge(*layers))}
    sections = tuple(f"{name.upper()}_" for name in _sections(kind))
    for name in environ:
        if name.startswith(sections) and name not in known and not name.startswith(_OTHERS):
            yield name, _nearest(name, known)


def unknown_keys(kind: Any, tree: Tree, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Keys of `tree` that `kind` does not have, with the nearest one of the same section, or ""."""
    sections = _sections(kind)
    for key, value in tree.items():
        if key not in sections:
            yield (*path, key), _nearest(key, sections)
        elif isinstance(value, dict):
            yield from unknown_keys_of(sections[key], value, (*path, key))


def unknown_keys_of(kind: Any, tree: Tree, path: Path) -> Iterator[tuple[Path, str]]:
    """The same for a section, or a map of sections."""
    section, is_map = _section_of(kind)
    if section is None:
        return
    for key, below in tree.items() if is_map else [("", tree)]:
        if isinstance(below, dict):
            yield from unknown_keys(section, below, (*path, key) if is_map else path)


@dataclass(frozen=True, slots=True)
class Refused:
    """A key whose value cannot be used, why, and the layer it came from."""

    path: Path
    reason: str
    layer: str = ""

    @property
    def key(self) -> str:
        return ".".join(self.path)

    def __str__(self) -> str:
        return f"configuration key {self.key}{f' (from {self.layer})' if self.layer else ''}: {self.reason}"


def check(kind: type[S], *layers: tuple[str, Tree]) -> S:
    """The layers as one typed value. Raises Invalid naming the key and the layer it came from.

    Scalars are read as text, as core-keeper holds them, so that a file means the same as the keys made from it.
    """
    settings, refused = accept(kind, *layers)
    if refused:
        raise Invalid(str(refused[0]))
    return settings


def accept(kind: type[S], *layers: tuple[str, Tree], in_force: Tree | None = None) -> tuple[S, list[Refused]]:
    """The layers as one typed value without the keys that cannot be used, and those keys.

    In the place of such a key stands its value `in_force`, else that of a weaker layer, else the default. Raises
    Invalid where nothing can.
    """
    trees = [(name, _texts(tree)) for name, tree in layers]
    fallback, replaced, refused = _texts(in_force or {}), Tree(), list[Refused]()
    while True:
        merged = merge(*(tree for _, tree in trees), replaced)
        try:
            return msgspec.convert(merged, kind, strict=False), refused
        except msgspec.ValidationError as error:
            what, path = _located(kind, merged, error)
            if not path:
                raise Invalid(f"configuration: {what}") from error
            source = next((tree for name, tree in reversed(trees) if at(tree, path) is not None), None)
            if at(replaced, path) is not None:  # the fallback cannot be used either
                remove(replaced, path)
                remove(fallback, path)
                continue
            if source is None:
                raise Invalid(f"configuration key {'.'.join(path)}: {what}") from error
            if not any(it.path == path for it in refused):
                refused.append(Refused(path, what, _source(path, trees)))
            remove(source, path)
            if (before := at(fallback, path)) is not None:
                set_leaf(replaced, path, before)


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


def _overridable(kind: Any, tree: Tree, path: Path = ()) -> dict[Path, Any]:
    """Every key of `tree`, and of `kind`'s sections, with its value or default."""
    sections = _sections(kind) if kind is not None else {}
    found: dict[Path, Any] = {}
    for key in {**sections, **tree}:
        section, is_map = _section_of(sections.get(key))
        value = tree.get(key)
        below = value if isinstance(value, dict) else {}
        if section is not None and is_map:
            for name, one in below.items():
                found |= _overridable(section, one if isinstance(one, dict) else {}, (*path, str(key), str(name)))
        elif section is not None or isinstance(value, dict):
            found |= _overridable(section, below, (*path, str(key)))
        else:
            found[*path, str(key)] = [] if "tuple" in str(sections.get(key)) and value is None else value
    return found


def _sections(kind: Any) -> dict[str, Any]:
    """The keys of a section with their types."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _section_of(kind: Any) -> tuple[Any, bool]:
    """The section that a type is or, as True says, is a map of; None where it is neither."""
    parts = [kind, *get_args(kind)]
    section = next((it for it in parts if isinstance(it, type) and issubclass(it, msgspec.Struct)), None)
    return section, get_origin(kind) is dict


def _nearest(name: str, known: Iterable[str]) -> str:
    by_lower = {it.lower(): it for it in known}
    return next((by_lower[it] for it in difflib.get_close_matches(name.lower(), by_lower, 1, 0.7)), "")


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _texts(tree: Tree) -> Tree:
    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return _texts(value)
        return [text(item) for item in value] if isinstance(value, list) else text_of(value)

    return {str(key): text(value) for key, value in tree.items() if value is not None}


def _located(kind: type[S], merged: Tree, error: msgspec.ValidationError) -> tuple[str, Path]:
    """What is wrong, in plain words, and the path of the key it is wrong at."""
    what, _, where = str(error).partition(" - at `$")
    path: Path = ()
    for part in filter(None, where.rstrip("`").replace("[...]", ".*").split(".")):  # some key of a map
        key = _culprit(kind, merged, path, str(error)) if part == "*" else part.partition("[")[0]
        if not key:  # several keys together: the whole map
            break
        path = (*path, key)
    node = at(merged, path)
    if isinstance(node, dict):  # a section refuses itself: for one of its keys, if it is fine without it
        path = next((key for key, _ in leaves(node, path) if _is_mended(kind, merged, key, str(error))), path)
        node = at(merged, path)
    return _explained(what, path, node), path


def _is_mended(kind: type[S], merged: Tree, path: Path, complaint: str) -> bool:
    without = merge(merged)
    remove(without, path)
    try:
        msgspec.convert(without, kind, strict=False)
    except msgspec.ValidationError as error:
        return str(error) != complaint
    return True


def _explained(what: str, path: Path, value: Any) -> str:
    """msgspec's complaint in plain words, with the value unless it is a secret."""
    if what.startswith("Object missing required field"):
        return f"the key {what.split('`')[1]} is missing"
    expected = _EXPECTED.match(what)
    if expected is None:
        return what
    kinds = [_KINDS.get(it, it) for it in expected["kinds"].split(" | ") if it != "null"]
    is_shown = isinstance(value, str) and not any(_SECRET_KEY.search(key) for key in path)
    shown = f"'{redact(value)}' is refused, " if is_shown else ""
    return f"{shown}expected {' or '.join(kinds)}{expected['limit'].rstrip()}"


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
    return ""


def _source(path: Path, layers: Sequence[tuple[str, Tree]]) -> str:
    return next((name for name, tree in reversed(layers) if at(tree, path) is not None), "")
