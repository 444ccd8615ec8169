"""Log lines as EdgeX's Go services write them: secrets masked, unprintable characters escaped, texts cut.

Only lines of a traceback follow their record on lines of their own, which are indented: no text can forge a record.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable

from edgex_kit.wire.redact import printable, redact

_TRACEBACK_LIMIT = 16_384  # characters
_MINUTE = 60.0  # seconds
_LEVELS = {"TRACE": logging.DEBUG, "DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING,
           "WARNING": logging.WARNING, "ERROR": logging.ERROR}  # fmt: skip


class LogFormat(logging.Formatter):
    """level=INFO ts=2026-11-22T08:00:00.000Z app=device-camera source=capture.py:40 msg="..." """

    def __init__(self, service: str, secrets: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self._service = service
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        secrets = tuple(self._secrets())
        text = printable(redact(record.getMessage(), secrets))
        if record.exc_info:
            trace = redact(self.formatException(record.exc_info), secrets, _TRACEBACK_LIMIT)
            text += "".join(f"\n  {printable(line)}" for line in trace.split("\n"))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        level = "WARN" if record.levelno == logging.WARNING else record.levelname
        where = f"{record.filename}:{record.lineno}"
        return f'level={level} ts={stamp} app={self._service} source={where} msg="{text.replace(chr(34), chr(39))}"'


class _OnceAMinute(logging.Filter):
    """Passes a warning once a minute: anybody who reaches the port can cause uvicorn's."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}  # format of a message -> seconds, monotonic

    def filter(self, record: logging.LogRecord) -> bool:
        now, text = time.monotonic(), str(record.msg)
        if record.levelno > logging.WARNING:
            return True
        if now - self._passed.get(text, -_MINUTE) < _MINUTE:
            return False
        self._passed[text] = now
        return True


def setup_logging(service: str, secrets: Callable[[], Iterable[str]]) -> None:
    """Send everything to stderr in one format; of libraries only warnings and errors."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(LogFormat(service, secrets))
    logging.basicConfig(level=logging.INFO, handlers=[out], force=True)
    for library in ("urllib3", "uvicorn", "asyncio", "amqtt", "transitions"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_OnceAMinute())


def set_level(name: str) -> None:
    """Follow `Writable.LogLevel`; an unknown level is logged and INFO is used."""
    level = _LEVELS.get(name.upper())
    if level is None:
        logging.getLogger(__name__).warning("unknown log level '%s'; using INFO", name)
    logging.getLogger().setLevel(level or logging.INFO)
