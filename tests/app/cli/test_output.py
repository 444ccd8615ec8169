"""Tables fit the terminal."""

import re
import subprocess
import sys

import pytest
from app_inference.cli import output
from rich.console import Console

COLUMNS = ("model", "task", "size", "what it finds")
LONG = ("single_pose_lightning_of_somebody@1.0.0", "keypoints", "2.9 MB", "Bodies and their seventeen joints")


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *rows: tuple[str, ...]
) -> list[str]:
    monkeypatch.setattr(output, "console", lambda: Console(highlight=False, width=width))
    output.say_table(COLUMNS, rows, right=("size",))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_that_fits_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(monkeypatch, capsys, 80, ("meter@1.0.0", "detection", "2.9 kB", "lamps"))
    assert lines == ["model        task         size  what it finds", "meter@1.0.0  detection  2.9 kB  lamps"]


def test_one_that_would_break_words_becomes_paragraphs_within_the_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, 60, LONG, ("meter@1.0.0", "", "2.9 kB", ""))
    assert lines == [
        "single_pose_lightning_of_somebody@1.0.0",
        "    task: keypoints  size: 2.9 MB",
        "    what it finds: Bodies and their seventeen joints",
        "meter@1.0.0",
        "    size: 2.9 kB",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    assert max(map(len, printed(monkeypatch, capsys, width, LONG))) <= width


@pytest.mark.integration
@pytest.mark.fault(35)
def test_a_line_beside_a_spinner_stands_alone() -> None:
    program = (
        "import time; from app_inference.cli.output import working\n"
        "with working('spinning', is_quiet=False) as say:\n"
        "    time.sleep(0.3); say('LINE'); time.sleep(0.3)"
    )
    command = f'{sys.executable} -c "{program}"'
    shown = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, timeout=30).stdout.decode()
    lines = [""]
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if part == "\n":
            lines.append("")
        elif part.endswith("K") and part.startswith("\x1b"):
            lines[-1] = ""
        elif part.endswith("A") and part.startswith("\x1b"):
            lines.pop()
        elif part != "\r" and not part.startswith("\x1b"):
            lines[-1] += part
    assert [line.strip() for line in lines if line.strip()] == ["LINE"]
