"""mosquitto as a child process: anonymous, nothing on disk, and ended with us, also by kill -9."""

import contextlib
import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Literal

from edgex_kit.wire.errors import Unavailable

from edgex_standin.address import Address, wait_until_it_listens

log = logging.getLogger(__name__)

MAX_PACKET = 32 * 1024 * 1024  # bytes; device-sdk-go's largest Binary reading as base64, and some more
MAX_WAITING = 64 * 1024 * 1024  # bytes a slow subscriber may have waiting before it loses messages
START_WAIT = 10.0  # seconds
STOP_WAIT = 3.0  # seconds

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # prctl(2)
# Started by root, mosquitto would become another user, and with that forget the signal that ties it to us (prctl(2))
_AS_ROOT = ("user root",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()


class Mosquitto:
    """mosquitto, running as our child."""

    kind: Literal["mosquitto"] = "mosquitto"

    def __init__(self, program: str, address: Address, config: IO[str]) -> None:
        self.address = address
        self._program = program
        self._config = config
        self._child = self._start()

    def revive(self) -> None:
        """Start it again if it has died. From the thread that opened it: the child dies with that thread."""
        code = self._child.poll()
        if code is not None:
            log.warning("mosquitto has ended with code %d; starting it again", code)
            self._child = self._start()

    def stop(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_WAIT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self._config.seek(0)
        handed = self._config.fileno()
        child = subprocess.Popen(  # noqa: S603 - a program found on PATH, without a shell
            [self._program, "-c", f"/dev/fd/{handed}"],
            pass_fds=(handed,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the services first, which still publish
            preexec_fn=_end_with_parent if _libc else None,  # noqa: PLW1509 - one C call, nothing that could lock
        )
        try:
            wait_until_it_listens(self.address, lambda: child.poll() is None, START_WAIT)
        except Unavailable as error:
            code = child.poll()
            child.kill()
            child.wait()
            if code is None:
                raise
            raise Unavailable(f"mosquitto ended with code {code} before it listened on {self.address}") from error
        return child


def find_mosquitto() -> str | None:
    """mosquitto's path; Debian puts it where an ordinary user's PATH does not lead."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


@contextlib.contextmanager
def open_mosquitto(program: str, address: Address) -> Iterator[Mosquitto]:
    """mosquitto with a configuration of its own for the length of the block."""
    with tempfile.TemporaryFile("w+") as config:  # without a name: it is gone with us
        config.write(configuration(address))
        config.flush()
        broker = Mosquitto(program, address, config)
        try:
            yield broker
        finally:
            broker.stop()


def configuration(address: Address) -> str:
    """mosquitto.conf(5)."""
    lines = (
        f"listener {address.port} {address.host}",
        "allow_anonymous true",
        "persistence false",
        "set_tcp_nodelay true",
        f"max_packet_size {MAX_PACKET}",
        f"max_queued_bytes {MAX_WAITING}",
        "max_queued_messages 1000",
        "sys_interval 0",
        "log_type error",
    )
    return "\n".join((*lines, *_AS_ROOT)) + "\n"


def _end_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
