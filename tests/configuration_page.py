"""`python -m tests.configuration_page`: the tables of docs/reference/configuration.md, from the services' own files.

A key is described by the comment behind it or right above it. Of the map of metrics, and of the default pipeline, the
comment of the map is enough.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/configuration.md"
FILES = {
    "app-inference": ROOT / "app-service/app_inference/res/configuration.yaml",
    "device-camera": ROOT / "device-service/device_camera/res/configuration.yaml",
}
BEGIN, END = "<!-- keys: made by python -m tests.configuration_page -->\n", "<!-- end of keys -->\n"
_LINE = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z][\w-]*):(?P<rest>.*)")


@dataclass(frozen=True)
class Key:
    """A key of a service's configuration file."""

    path: str
    default: Any
    text: str


def keys(file: Path) -> list[Key]:
    """The keys of a file that have a value, in its order."""
    text = file.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    found: list[Key] = []
    groups: dict[str, tuple[str, list[str]]] = {}
    for path, comment in _commented(text):
        value = _at(tree, path)
        parent = path.rpartition(".")[0]
        if isinstance(value, dict) and value:
            if path.endswith(".Metrics"):
                groups[path] = comment, []
        elif parent in groups:
            groups[parent][1].append(path.rpartition(".")[2])
        else:
            found.append(Key(path, value, comment))
    found += [Key(f"{path}.<metric>", False, f"{text}: {', '.join(names)}") for path, (text, names) in groups.items()]
    return found


def _commented(text: str) -> Iterator[tuple[str, str]]:
    """Every key's path, and the comment behind or above it."""
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            above.append(stripped.lstrip("# "))
            continue
        match = _LINE.fullmatch(line)
        if match:
            indent = len(match["indent"])
            path = [*((depth, name) for depth, name in path if depth < indent), (indent, match["name"])]
            behind = re.search(r"(?:^|\s)# (.*)$", match["rest"])
            yield ".".join(name for _, name in path), behind[1] if behind else " ".join(above)
        above = []


def _at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree[name]
    return tree


def tables() -> str:
    """The tables of all services."""
    lines = []
    for service, file in FILES.items():
        lines += [f"### {service}", "", "| key | default | |", "|---|---|---|"]
        for key in keys(file):
            default = str(key.default).lower() if isinstance(key.default, bool) else key.default
            shown = "" if default in ("", None, {}) else f"`{default}`"
            lines.append(f"| `{key.path}` | {shown} | {key.text.replace('|', chr(92) + '|')} |")
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """`text` with new tables."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
