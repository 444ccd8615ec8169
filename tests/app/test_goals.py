"""Which acceptance test of model management proves which goal; the table of docs/reference/goals.md names them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "goals.md"
WANTED = {*range(1, 24), 28, 29, 31, 35, 36, 38, 39, 40, 41, 44, 46, 47, 50}


def goals(node: ast.AST) -> set[int]:
    """The numbers of every `pytest.mark.goal(...)` within."""
    found: set[int] = set()
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "goal":
            found |= {it.value for it in call.args if isinstance(it, ast.Constant) and isinstance(it.value, int)}
    return found


def marked() -> Iterator[tuple[int, str, str]]:
    """Goal, file and test; a mark of the whole file counts for each of its tests."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.goal" not in text:
            continue
        tree = ast.parse(text)
        whole = {number for node in tree.body if isinstance(node, ast.Assign) for number in goals(node)}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                own = {number for decorator in node.decorator_list for number in goals(decorator)}
                yield from ((number, file.name, node.name) for number in sorted(own | whole))


def test_every_goal_has_a_test() -> None:
    assert not WANTED - {number for number, _, _ in marked()}


def test_the_page_names_every_goal_and_a_test_that_proves_it() -> None:
    proofs = {(number, test) for number, _, test in marked()}
    rows = re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(number) for number, _ in rows} == WANTED
    assert {(int(number), test) for number, test in rows} <= proofs
