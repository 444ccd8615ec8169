"""A pytest plugin that writes down which points of EdgeX's checklist hold: `-p checklist_page --conformance=FOLDER`.

A test says which points it proves with the marker `checklist`, or with the number at the head of its name. What a run
finds goes into FOLDER/conformance.json, under the name of the core it ran against; FOLDER/conformance.md shows it all.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORES = ("stand-in", "EdgeX 4.0.2")
VARIABLES = ("EDGEX_CORE_KEEPER", "EDGEX_CORE_METADATA", "EDGEX_CORE_DATA", "EDGEX_CORE_COMMAND", "EDGEX_BROKER")

Outcomes = dict[str, dict[str, str]]  # point -> test -> passed, failed or skipped

_HEAD = """# Conformance with EdgeX 4.0

Every line of EdgeX's contract that a device service, an application service and an embedded core have to keep, and
whether they do. This page is written by `make conformance` from the outcome of the tests it names; the column
*EdgeX 4.0.2* is a run of the same tests against EdgeX's own Go services (`make test-edgex`).

**held**: a test proves it. **better**: we choose to do more than the line asks, for the reason given; a test proves
what we do. **held in part**, **not held**: with the reason. A dash: not run there, or for the stand-in alone.
"""


@dataclass(frozen=True, slots=True)
class Point:
    """A line of the checklist; `better` says why we do more than it asks, `partly` why less."""

    number: int
    sentence: str
    better: str = ""
    partly: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the checklist."""

    letter: str
    title: str
    points: tuple[Point, ...]


def parts() -> list[Part]:
    """The checklist."""
    tree = yaml.safe_load((HERE / "points.yaml").read_text(encoding="utf-8"))
    better, partly = tree.pop("better"), tree.pop("partly")

    def point(number: int, sentence: str) -> Point:
        return Point(number, sentence, better.get(number, ""), partly.get(number, ""))

    return [
        Part(letter, part["title"], tuple(point(*item) for item in part["points"].items()))
        for letter, part in tree.items()
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", metavar="FOLDER", help="write conformance.json and conformance.md there")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--conformance")
    if folder:
        config.pluginmanager.register(Witness(Path(folder)), "conformance")


class Witness:
    """Watches one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._core = CORES[1] if os.environ.get(VARIABLES[0]) else CORES[0]
        self._proves: dict[str, list[int]] = {}
        self._said: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._proves[item.nodeid] = points_of(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.passed) or report.skipped:
            self._said[report.nodeid] = "failed" if self._said.get(report.nodeid) == "failed" else report.outcome

    def pytest_sessionfinish(self) -> None:
        file = self._folder / "conformance.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        known[self._core] = renewed(known.get(self._core, {}), by_point(self._proves, self._said))
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (self._folder / "conformance.md").write_text(page(known), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        known = json.loads((self._folder / "conformance.json").read_text(encoding="utf-8"))
        terminalreporter.section(f"conformance, against {self._core}")
        for part in parts():
            held = sum(verdict(known.get(self._core, {}).get(str(point.number), {})) == "held" for point in part.points)
            terminalreporter.line(f"{part.letter} {part.title}: {held} of {len(part.points)} points hold")


def points_of(item: pytest.Item) -> list[int]:
    """What a test proves."""
    named = re.match(r"test_(\d\d)_", item.name)
    marked = [int(point) for marker in item.iter_markers("checklist") for point in marker.args]
    return sorted({*marked, *([int(named[1])] if named else [])})


def by_point(proves: Mapping[str, Iterable[int]], said: Mapping[str, str]) -> Outcomes:
    """Point -> test -> outcome, the cases of one test taken together: the worst counts."""
    found: Outcomes = defaultdict(dict)
    worst = ("skipped", "passed", "failed")
    for test, points in proves.items():
        outcome, name = said.get(test, "skipped"), test.partition("[")[0]
        for point in points:
            before = found[str(point)].get(name, outcome)
            found[str(point)][name] = max(before, outcome, key=worst.index)
    return dict(found)


def renewed(known: Outcomes, found: Outcomes) -> Outcomes:
    """What was known, with everything about the files of this run as it was found now: a part can be run alone."""
    files = {_file(test) for tests in found.values() for test in tests}
    kept = {point: {it: known[point][it] for it in known[point] if _file(it) not in files} for point in known}
    return {point: {**kept.get(point, {}), **found.get(point, {})} for point in {*kept, *found}}


def _file(test: str) -> str:
    return test.partition("::")[0]


def verdict(outcomes: Mapping[str, str]) -> str:
    """What the tests of a point say together."""
    if "failed" in outcomes.values():
        return "**not held**"
    return "held" if "passed" in outcomes.values() else "-"


def page(known: Mapping[str, Outcomes]) -> str:
    """The page in Markdown."""
    lines = [_HEAD]
    for part in parts():
        lines += [
            f"\n## {part.letter}. {part.title}\n",
            f"| # | | {' | '.join(CORES)} | proved by |",
            "|--|--|--|--|--|",
        ]
        lines += [_row(point, known) for point in part.points]
    return "\n".join(lines) + "\n"


def _row(point: Point, known: Mapping[str, Outcomes]) -> str:
    outcomes = [known.get(core, {}).get(str(point.number), {}) for core in CORES]
    held = "better" if point.better else "held in part" if point.partly else "held"
    said = [held if (one := verdict(found)) == "held" else one for found in outcomes]
    sentence = point.sentence.replace("|", "\\|").replace("<", "&lt;")
    why = point.better or point.partly
    reason = f"<br>*{why}*" if why else ""
    tests = sorted({test for one in outcomes for test in one})
    files: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        file, _, name = test.partition("::")
        files[file].append(name.removeprefix("test_").replace("_", " "))
    links = "<br>".join(f"[{Path(file).name}](../../{file}): {'; '.join(names)}" for file, names in files.items())
    return f"| {point.number} | {sentence}{reason} | {' | '.join(said)} | {links or 'no test'} |"
