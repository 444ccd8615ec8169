"""Programs of this package that run in processes of their own, pinned; asked and answering in lines of JSON."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from benchmarks.bench import NotMeasured
from benchmarks.cpu import pinned

ROOT = Path(__file__).resolve().parent.parent
# As the services set themselves up; the references get it too.
_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def with_bytecode(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, and compiled modules kept outside the source tree, as an installed package has them."""
    kept = {key: text for key, text in environment.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(ROOT / "run" / "bytecode")}


class Program:
    """A running one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, **order: Any) -> dict[str, Any]:
        """Its answer. Raises NotMeasured when it has ended instead."""
        self.tell(**order)
        return self.answer()

    def tell(self, **order: Any) -> None:
        """Give an order; `answer` has what becomes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise NotMeasured(f"{self._process.args!r} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def open_program(module: str, cores: Set[int], *args: str) -> Iterator[Program]:
    """`python -m module` on `cores`; it ends when its input does."""
    with pinned(cores):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=with_bytecode({**os.environ, **_ENVIRONMENT}),
        )  # fmt: skip
    try:
        yield Program(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The program's side: answer every order until there are no more."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
