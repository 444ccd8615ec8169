"""`python -m demo`: be the terminal's foreground process, then run.

A terminal sends Ctrl-C to every process of its foreground group, also to `make`, which would report a failure. So this
process becomes the foreground group for as long as it runs. That is done before the imports, which take a second.
"""

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    before = os.getpgrp()
    is_own = sys.stdin.isatty() and os.tcgetpgrp(0) == before != os.getpid()
    if is_own:
        os.setpgid(0, 0)
        give_terminal(os.getpgrp())

    def leave(status: int) -> NoReturn:
        if is_own:
            give_terminal(before)
        sys.stdout.flush()
        os._exit(status)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # until the event loop takes them over
        signal.signal(signum, lambda *_: leave(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # `make run` blocks it while Python starts
    from demo.run import run

    leave(run(sys.argv[1:]))


def give_terminal(group: int) -> None:
    """A background process that does this would be stopped by SIGTTOU."""
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, group)
    signal.signal(signal.SIGTTOU, ignored)


if __name__ == "__main__":
    main()
