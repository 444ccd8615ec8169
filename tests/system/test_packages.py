"""Every distribution declares what it imports, and nothing else; what they share has the same bounds everywhere."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {"edgex-kit": "edgex_kit", "device-service": "device_camera", "app-service": "app_inference"}
IMPORTED_AS = {"opencv-python-headless": "cv2", "paho-mqtt": "paho", "pyyaml": "yaml"}


def project(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return found


def declared(folder: str) -> dict[str, str]:
    """Import name -> requirement."""
    said = project(folder)
    wanted = [
        *said["dependencies"],
        *(one for extra in said.get("optional-dependencies", {}).values() for one in extra),
    ]
    names = {requirement: re.match(r"[\w-]+", requirement)[0] for requirement in wanted}  # type: ignore[index]
    return {IMPORTED_AS.get(name, name.replace("-", "_")): requirement for requirement, name in names.items()}


def imported(folder: str) -> set[str]:
    found = set()
    for file in (ROOT / folder / PACKAGES[folder]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {PACKAGES[folder]}


@pytest.mark.parametrize("folder", PACKAGES)
def test_what_is_imported_is_declared(folder: str) -> None:
    assert set(declared(folder)) == imported(folder)


def test_what_is_shared_has_the_same_bounds() -> None:
    bounds: dict[str, set[str]] = {}
    for folder in PACKAGES:
        for name, requirement in declared(folder).items():
            bounds.setdefault(name, set()).add(requirement)
    assert {name: sorted(many) for name, many in bounds.items() if len(many) > 1} == {}
