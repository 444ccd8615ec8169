"""The benchmarks run and count the right rounds. How good their figures are is not asked here."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from edgex_standin.broker.mosquitto import find_mosquitto

from benchmarks.__main__ import SCENARIOS
from benchmarks.page import BEGIN, END, PAGE, block, replaced
from benchmarks.rounds import DISTURBED, alternate, play
from benchmarks.steal import Steal
from tests.conftest import ROOT

CALM, ROUGH = DISTURBED / 2, DISTURBED * 5


@pytest.mark.system
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_every_scenario_gives_figures_and_loses_nothing(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(written), "--folder", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "140"}, timeout=1740,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]  # a lost frame fails a scenario
    run = json.loads(written.read_text())
    assert list(run["scenarios"]) == list(SCENARIOS)
    for name, figures in run["scenarios"].items():
        assert figures, name
        assert all(math.isfinite(figure["value"]) for figure in figures), name
    assert [it["value"] for it in run["scenarios"]["swap"] if it["name"] == "lost"] == [0, 0]
    assert all(name in block([run]) for name in SCENARIOS)


def test_figures_replace_those_of_the_page_and_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nbehind\n"
    assert replaced(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nbehind\n"
    with pytest.raises(ValueError, match=BEGIN):
        replaced("no marks", "new")
    assert replaced(PAGE.read_text(), "new")


class Share(Steal):
    """A share that a test chooses."""

    def __init__(self, share: float) -> None:
        self._share = share

    def share(self) -> float:
        return self._share


@pytest.mark.parametrize(
    ("shares", "counted"),
    [
        pytest.param([CALM] * 4, [0, 1, 2, 3], id="all calm"),
        pytest.param([CALM, ROUGH, CALM, CALM, CALM], [0, 2, 3, 4], id="one repeated"),
        pytest.param(
            [ROUGH, CALM, CALM, 2 * ROUGH, CALM, ROUGH / 2], [1, 2, 4, 5], id="two repeated, the least disturbed"
        ),
        pytest.param([ROUGH] * 6, [0, 1, 2, 3], id="never calm"),
    ],
)
def test_disturbed_rounds_are_repeated_within_limits(shares: list[float], counted: list[int]) -> None:
    left, numbers = iter(shares), iter(range(len(shares)))
    assert play(lambda: next(numbers), 4, stolen=lambda: Share(next(left))) == counted
    assert next(left, None) is None


def test_candidates_alternate_and_every_second_round_is_reversed() -> None:
    order: list[str] = []
    given = alternate({name: lambda name=name: order.append(name) for name in "ab"}, 2)  # type: ignore[misc]
    assert order[:4] == ["a", "b", "b", "a"]
    assert {name: len(values) for name, values in given.items()} == {"a": 2, "b": 2}


def test_what_is_stolen_is_a_share() -> None:
    assert 0 <= Steal().share() <= 1
