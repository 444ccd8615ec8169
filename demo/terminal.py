"""Who gets Ctrl-C.

A terminal sends it to every process of the foreground group, `make` included, which would then report a failure. So we
become the foreground group ourselves and give the terminal back in the end.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def own_foreground() -> Iterator[None]:
    """Be the terminal's only foreground process for the length of the block, where there is a terminal."""
    if not sys.stdin.isatty() or os.tcgetpgrp(0) != os.getpgrp() or os.getpgrp() == os.getpid():
        yield
        return
    before = os.getpgrp()
    os.setpgid(0, 0)
    _give_terminal(os.getpgrp())
    try:
        yield
    finally:
        _give_terminal(before)


def _give_terminal(group: int) -> None:
    """A background process that does this is stopped by SIGTTOU unless it ignores it."""
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(0, group)
    finally:
        signal.signal(signal.SIGTTOU, ignored)
