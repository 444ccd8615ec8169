"""What holds the repository together: links, declared dependencies, and pages that name the tests of their promises."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
PACKAGES = {
    "edgex-kit": "edgex_kit",
    "edgex-standin": "edgex_standin",
    "device-service": "device_camera",
    "app-service": "app_inference",
}
IMPORTED_AS = {"opencv-python-headless": "cv2", "paho-mqtt": "paho", "pyyaml": "yaml", "google-re2": "re2"}
GOALS = {*range(1, 24), 28, 29, 31, 35, 36, 38, 39, 40, 41, 44, 46, 47, 50}
FAULTS = set(range(1, 36))


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


PAGES = tracked("*.md")


def links(page: Path) -> list[Path]:
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return [page.parent / link for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if not link.exists()] == []


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            waiting += [link for link in links(page) if link.is_file()]
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - reached == set()


def declared(folder: str) -> dict[str, str]:
    """Import name -> requirement."""
    project: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    optional = project.get("optional-dependencies", {}).values()
    found = {}
    for requirement in [*project["dependencies"], *(one for extra in optional for one in extra)]:
        name = re.split(r"[^\w-]", requirement, maxsplit=1)[0]
        found[IMPORTED_AS.get(name, name.replace("-", "_"))] = requirement
    return found


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


def test_shared_dependencies_have_the_same_bounds() -> None:
    bounds: dict[str, set[str]] = {}
    for folder in PACKAGES:
        for name, requirement in declared(folder).items():
            bounds.setdefault(name, set()).add(requirement)
    assert {name: sorted(many) for name, many in bounds.items() if len(many) > 1} == {}


def numbers(node: ast.AST, marker: str) -> set[int]:
    """The arguments of every `pytest.mark.<marker>(...)` within."""
    found: set[int] = set()
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == marker:
            found |= {it.value for it in call.args if isinstance(it, ast.Constant) and isinstance(it.value, int)}
    return found


def marked(marker: str) -> Iterator[tuple[int, str]]:
    """Number and test; a mark of the whole file counts for each of its tests."""
    for file in tracked("tests/*.py"):
        if f"mark.{marker}" not in (text := file.read_text(encoding="utf-8")):
            continue
        tree = ast.parse(text)
        whole = {number for node in tree.body if isinstance(node, ast.Assign) for number in numbers(node, marker)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                own = {number for decorator in node.decorator_list for number in numbers(decorator, marker)}
                yield from ((number, node.name) for number in own | whole)


@pytest.mark.parametrize(("marker", "wanted"), [("goal", GOALS), ("fault", FAULTS)])
def test_a_page_of_promises_names_a_test_of_each(marker: str, wanted: set[int]) -> None:
    page = (ROOT / "docs" / "reference" / f"{marker}s.md").read_text(encoding="utf-8")
    rows = {int(row[1]): re.findall(r"`(test_\w+)`", row[2])
            for row in re.finditer(r"^\| (\d+) \|.*\|(.*)\|$", page, re.MULTILINE)}  # fmt: skip
    assert set(rows) == wanted
    assert [number for number, tests in rows.items() if not tests] == []
    assert {(number, test) for number, tests in rows.items() for test in tests} <= set(marked(marker))
