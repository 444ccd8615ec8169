"""Memory that a frame has used stays in the process for the next one.

Every frame needs the same few large buffers. Left alone, glibc gives freed ones back to the system, and each page of
them is faulted in again for the next frame: that was a twentieth of all a frame costs.
"""

import ctypes
import os
import sys

KEPT = 64 << 20  # bytes at the end of a heap that are not given back
_MMAP_FROM = 32 << 20  # bytes; smaller buffers come from the heap, and this is the most mallopt(3) takes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Set glibc's thresholds, before any thread starts; False without glibc, or where the environment sets them."""
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_TRIM_THRESHOLD, KEPT) and mallopt(_M_MMAP_THRESHOLD, _MMAP_FROM))
