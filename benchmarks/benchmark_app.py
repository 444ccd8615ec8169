"""OpenVINO's own benchmark, which comes with its package: the reference that everybody can repeat."""

import re
import subprocess
import sysconfig
from collections.abc import Set
from pathlib import Path

from benchmarks.bench import NotMeasured
from benchmarks.cpu import pinned

_ONE_THREAD = ("-nstreams", "1", "-nthreads", "1")


def frames_per_second(model: Path, cores: Set[int], seconds: float) -> float:
    """Of `benchmark_app` alone on `cores`: one thread and synchronous on one core, its throughput hint on more."""
    how = (
        ["-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", "1"]
        if len(cores) == 1
        else ["-hint", "throughput"]
    )
    program = Path(sysconfig.get_path("scripts")) / "benchmark_app"
    command = [str(program), "-m", str(model), "-d", "CPU", "-t", str(max(1, round(seconds))), *how]
    with pinned(cores):
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Throughput:\s+([\d.]+)", said)
    if found is None:
        raise NotMeasured(f"benchmark_app said {said.strip().splitlines()[-1:] or 'nothing'}")
    return float(found[1])
