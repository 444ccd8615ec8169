"""The committed page of conformance: all points are on it, and it says what the last runs found."""

import json
import re

import pytest

from tests.conformance import checklist_page as checklist

REFERENCE = checklist.ROOT / "docs" / "reference"


@pytest.fixture
def known() -> dict[str, checklist.Outcomes]:
    found: dict[str, checklist.Outcomes] = json.loads((REFERENCE / "conformance.json").read_text(encoding="utf-8"))
    return found


def test_there_are_86_points() -> None:
    numbers = [point.number for part in checklist.parts() for point in part.points]
    assert numbers == list(range(1, 87))


def test_the_page_lists_every_point_and_is_what_the_runs_found(known: dict[str, checklist.Outcomes]) -> None:
    text = (REFERENCE / "conformance.md").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(range(1, 87))
    assert text == checklist.page(known), "write it anew with `make conformance`"


def test_every_point_is_proved_by_a_test_that_exists(known: dict[str, checklist.Outcomes]) -> None:
    for number in range(1, 87):
        tests = known["stand-in"].get(str(number), {})
        assert tests, f"no test proves point {number}"
        for test in tests:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (checklist.ROOT / file).read_text(encoding="utf-8"), f"{test} is gone: {number}"


def test_a_run_of_one_file_renews_what_it_says_and_nothing_else() -> None:
    known = {"7": {"a.py::test_x": "failed", "b.py::test_y": "passed"}, "8": {"a.py::test_gone": "passed"}}
    found = {"7": {"a.py::test_x": "passed"}}
    assert checklist.renewed(known, found) == {"7": {"b.py::test_y": "passed", "a.py::test_x": "passed"}, "8": {}}


def test_the_worst_case_of_a_test_counts() -> None:
    proves = {"a.py::test_x[1]": [7], "a.py::test_x[2]": [7], "a.py::test_y": [7], "a.py::test_z": [8]}
    said = {"a.py::test_x[1]": "passed", "a.py::test_x[2]": "failed", "a.py::test_y": "passed"}
    found = checklist.by_point(proves, said)
    assert found == {"7": {"a.py::test_x": "failed", "a.py::test_y": "passed"}, "8": {"a.py::test_z": "skipped"}}
    assert [checklist.verdict(found[point]) for point in ("7", "8")] == ["**not held**", "-"]
