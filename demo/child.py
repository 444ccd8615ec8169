"""`python -m demo.child PARENT MODULE ARG...`: run a module as `python -m` does, but never longer than the parent.

The kernel sends SIGTERM when the parent ends (PR_SET_PDEATHSIG, prctl(2)), also when it is killed.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, module: str, *args: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the call
        sys.exit(1)
    sys.argv = [module, *args]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
