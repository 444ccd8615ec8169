"""Memory that a frame has used stays for the next: told by the page faults of a process of its own."""

import os
import subprocess
import sys

import pytest

# Frees a block of 3 MB under a small one and takes it again, as decoding a picture does, on the main heap.
_FRAMES = """
import ctypes, resource, sys
from edgex_kit.service.memory import keep_freed_memory

print(keep_freed_memory())
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]


def frame():
    blocks = [libc.malloc(3 << 20) for _ in range(3)]
    for block in blocks:
        ctypes.memset(block, 1, 3 << 20)
    for block in blocks:
        libc.free(block)


frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    frame()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", _FRAMES], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc takes advice")
def test_a_second_frame_faults_no_pages_in() -> None:
    kept, faults = run()
    if not kept:
        pytest.skip("the C library is not glibc")
    assert faults < 100


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc takes advice")
def test_what_the_environment_says_stands() -> None:
    kept, faults = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept
    assert faults > 1000
