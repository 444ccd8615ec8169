"""`make bench-quick` still runs: every scenario gives figures, and no frame is lost. How good they are is not asked."""

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

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.system
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_scenario_gives_figures_and_loses_nothing(tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    told = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(told), "--folder", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "140"}, timeout=1740,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]  # a lost frame ends a scenario
    given = json.loads(told.read_text())
    assert list(given["scenarios"]) == list(SCENARIOS)
    for name, figures in given["scenarios"].items():
        assert figures, name
        assert all(figure["values"] and math.isfinite(figure["value"]) for figure in figures), name
    lost = [figure["value"] for figure in given["scenarios"]["swap"] if figure["name"] == "lost"]
    assert lost == [0, 0]
    assert all(name in block([given]) for name in SCENARIOS)


def test_figures_take_the_place_of_those_in_the_page_and_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nbehind\n"
    assert replaced(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nbehind\n"
    with pytest.raises(ValueError, match="the page has no"):
        replaced("no marks", "new")
    assert BEGIN in PAGE.read_text()
    assert END in PAGE.read_text()
