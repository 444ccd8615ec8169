"""Log lines as the Go services write them, without secrets."""

import io
import logging
import re
from collections.abc import Iterator

import pytest
from edgex_kit.service.logs import LogFormat, set_level, setup_logging

LINE = re.compile(
    r"level=(?P<level>[A-Z]+) ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    r'app=(?P<app>\S+) source=\S+\.py:\d+ msg="(?P<msg>.*)"',
    re.DOTALL,
)


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of this test alone, and what it wrote."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(LogFormat("device-cam", lambda: ["hunter22"]))
    logger = logging.getLogger("edgex_kit.tests.logs")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger, out
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.fixture
def root_as_it_was() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_the_form_of_the_go_services(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = log
    logger.warning('camera "%s" is gone', "dock")
    match = LINE.fullmatch(out.getvalue().strip())
    assert match is not None
    assert (match["level"], match["app"], match["msg"]) == ("WARN", "device-cam", "camera 'dock' is gone")


def test_a_secret_is_masked_in_messages_arguments_and_tracebacks(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = log
    logger.info("login with hunter22 at %s", "rtsp://admin:other@cam/1")
    try:
        raise ValueError("hunter22")
    except ValueError:
        logger.exception("failed")
    text = out.getvalue()
    assert "hunter22" not in text
    assert "rtsp://***@cam/1" in text
    assert "ValueError: ***" in text


@pytest.mark.usefixtures("root_as_it_was")
def test_libraries_speak_only_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("device-cam", list)
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("uvicorn.error").warning("careful")
    logging.getLogger("edgex_kit.x").info("ours")
    err = capsys.readouterr().err
    assert "GET /" not in err
    assert "careful" in err
    assert "ours" in err


@pytest.mark.parametrize(
    ("name", "level"),
    [("DEBUG", logging.DEBUG), ("TRACE", logging.DEBUG), ("warn", logging.WARNING), ("ERROR", logging.ERROR)],
)
def test_the_level_follows_the_configuration(root_as_it_was: logging.Logger, name: str, level: int) -> None:
    set_level(name)
    assert root_as_it_was.level == level


@pytest.mark.fault(5)
def test_no_text_forges_a_line_of_its_own(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = log
    forged = 'x"\nlevel=ERROR ts=2026-01-01T00:00:00.000Z app=y source=z.py:1 msg="forged\x1b[2J'
    logger.info("device '%s'", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        logger.exception("failed")
    lines = out.getvalue().splitlines()
    assert [line.partition(" ")[0] for line in lines if not line.startswith("  ")] == ["level=INFO", "level=ERROR"]
    assert "\x1b" not in out.getvalue()


@pytest.mark.fault(12)
def test_a_warning_that_anybody_can_cause_is_logged_once_a_minute(
    root_as_it_was: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging("device-cam", list)
    server = logging.getLogger("uvicorn.error")
    try:
        for _ in range(200):
            server.warning("Invalid HTTP request received.")
            server.error("every one of these")
    finally:
        server.filters.clear()
    lines = capsys.readouterr().err.splitlines()
    assert [sum("level=WARN" in line for line in lines), sum("level=ERROR" in line for line in lines)] == [1, 200]
