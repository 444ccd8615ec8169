"""Freed memory stays in the process where the C library is glibc and the environment sets no other thresholds."""

import os
import subprocess
import sys

import pytest

_PROGRAM = "from edgex_kit.service.memory import keep_freed_memory; print(keep_freed_memory())"


@pytest.mark.integration
@pytest.mark.skipif(not os.confstr("CS_GNU_LIBC_VERSION"), reason="the C library is not glibc")
@pytest.mark.parametrize(("environment", "kept"), [({}, "True"), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, "False")])
def test_thresholds_are_set_unless_the_environment_sets_them(environment: dict[str, str], kept: str) -> None:
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    assert done.stdout.strip() == kept
