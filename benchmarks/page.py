"""`python -m benchmarks.page FILE ...` writes the figures of `python -m benchmarks --json FILE` to the figures page.

If a scenario is in several files, the last one counts. Only the text between the page's two marks is replaced.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import text_of
from benchmarks.machine import Machine
from benchmarks.programs import ROOT

PAGE = ROOT / "docs" / "reference" / "performance-figures.md"
BEGIN, END = "<!-- figures: python -m benchmarks.page -->", "<!-- end of figures -->"


def main() -> None:
    runs = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    if not runs:
        sys.exit(__doc__)
    PAGE.write_text(replaced(PAGE.read_text(), block(runs)))


def replaced(page: str, figures: str) -> str:
    """`page` with `figures` between its marks. Raises ValueError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no '{BEGIN}' with an '{END}' behind it")
    return f"{before}{BEGIN}\n{figures}\n{END}{after}"


def block(runs: Sequence[Mapping[str, Any]]) -> str:
    """Machine, goals, then every figure by scenario."""
    scenarios: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        scenarios |= run["scenarios"]
    goals = [it for figures in scenarios.values() for it in figures if it["goal"]]
    reached = sum(it["isReached"] for it in goals)
    parts = ["\n".join(f"    {line}" for line in Machine(**runs[-1]["machine"]).lines())]
    parts.append(f"### Goals: {reached} of {len(goals)} reached\n\n" + "\n".join(_rows(scenarios, only_goals=True)))
    for name, figures in scenarios.items():
        parts.append(f"### {name}\n\n" + "\n".join(_rows({name: figures}, only_goals=False)))
    return "\n" + "\n\n".join(parts) + "\n"


def _rows(scenarios: Mapping[str, Sequence[Mapping[str, Any]]], *, only_goals: bool) -> Iterator[str]:
    yield "| case | figure | median | min … max | goal | |\n|---|---|---:|---:|---:|---|"
    for name, figures in scenarios.items():
        for it in figures:
            if it["goal"] or not only_goals:
                case = f"{name}: {it['case']}" if only_goals else it["case"]
                yield f"| {case} | {it['name']} | {text_of(it['value'])} {it['unit']} | {_span(it)} | {_goal(it)} |"


def _span(figure: Mapping[str, Any]) -> str:
    values = figure["values"]
    return f"{text_of(min(values))} … {text_of(max(values))}" if len(values) > 1 else ""


def _goal(figure: Mapping[str, Any]) -> str:
    """Two cells."""
    if not figure["goal"]:
        return " | "
    sign = "≥" if figure["goal"]["at_least"] else "≤"
    return f"{sign} {text_of(figure['goal']['limit'])} | {'yes' if figure['isReached'] else '**no**'}"


if __name__ == "__main__":
    main()
