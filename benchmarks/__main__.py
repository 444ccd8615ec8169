"""`python -m benchmarks [scenario ...] [--quick] [--json FILE]`: measures, and shows each figure beside its goal."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from edgex_kit.service.memory import keep_freed_memory
from rich.console import Console

from benchmarks.bench import Bench, NotMeasured
from benchmarks.figures import as_json, table
from benchmarks.machine import this_machine
from benchmarks.programs import ROOT
from benchmarks.steal import Steal

SCENARIOS = (
    "receive",
    "publish",
    "end_to_end",
    "end_to_end_auto",
    "latency",
    "streams",
    "start",
    "swap",
    "soak",
    "peers",
)


def main() -> int:
    options = _parse(sys.argv[1:])
    keep_freed_memory()  # as the services do
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    machine, steal = this_machine(), Steal()
    console.print(*machine.lines(), sep="\n", style="dim")
    bench = Bench(options.quick, options.folder, options.seconds, lambda text: console.print(text, style="dim"))
    measured: dict[str, list[dict[str, Any]]] = {}
    failed = False
    for name in options.scenarios or SCENARIOS:
        scenario = import_module(f"benchmarks.{name}")
        try:
            figures = list(scenario.run(bench))
        except NotMeasured as error:
            console.print(f"[red]{name}: {error}[/]")
            failed = True
            continue
        measured[name] = [as_json(figure) for figure in figures]
        console.print(table(f"\n{name}: {scenario.__doc__.strip()}", figures))
        if options.json:  # after each, so that an end before its time takes one with it
            told = {"machine": asdict(replace(machine, steal=steal.share())), "scenarios": measured}
            options.json.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if failed else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; all without")
    parser.add_argument("--quick", action="store_true", help="one short round each: does it still run?")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there as well; benchmarks.page takes them from it"
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="how long soak takes (%(default)s)")
    parser.add_argument("--folder", type=Path, default=ROOT / "run" / "bench", help="models, caches and logs")
    options = parser.parse_args(argv)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
