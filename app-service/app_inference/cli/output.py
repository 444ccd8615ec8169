"""Tables, lines and progress for a person, JSON for a program."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_GAP = "  "  # between two columns
_INDENT = 4
_PIPED = 2000  # columns where there is no terminal


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a program that reads it."""
    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else _PIPED)


def say(text: str) -> None:
    """Print a line."""
    console().print(Text(text), soft_wrap=True)


def complain(text: str) -> None:
    """Print an error on standard error."""
    Console(stderr=True, highlight=False).print(Text.assemble(("edgex-models: ", "bold red"), text), soft_wrap=True)


def warn(text: str) -> None:
    """Print a note on standard error."""
    Console(stderr=True, highlight=False).print(Text.assemble(("note: ", "yellow"), text), soft_wrap=True)


def say_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table that fits the terminal: the first column stays whole, longer texts are folded between words.
    Where words would have to be broken, each row is a paragraph."""
    shown = console()
    if _least_width(columns, rows, right) > shown.width:
        for row in rows:
            _say_paragraph(shown, columns, row)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if column in right else "left", no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    shown.print(table)


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> int:
    """Characters that a table needs so that none of its words is broken."""
    widths = []
    for number, column in enumerate(columns):
        is_whole = number == 0 or column in right
        texts = [column, *(row[number] for row in rows)]
        widths.append(max(len(part) for text in texts for part in ([text] if is_whole else text.split() or [""])))
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _say_paragraph(shown: Console, columns: Sequence[str], row: Sequence[str]) -> None:
    """The first column, and below it the other columns that have a value, as many on a line as fit."""
    lines: list[str] = []
    for column, value in zip(columns[1:], row[1:], strict=True):
        if not value:
            continue
        fact = f"{column}: {value}"
        if lines and len(lines[-1]) + len(_GAP) + len(fact) <= shown.width - _INDENT:
            lines[-1] += _GAP + fact
        else:
            lines.append(fact)
    shown.print(Text(row[0], "bold"), soft_wrap=True)
    for line in lines:
        shown.print(Padding(Text(line), (0, 0, 0, _INDENT)))


def say_facts(facts: Mapping[str, str]) -> None:
    """Print names and values, one a line; those without a value are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, Text(value))
    console().print(table)


@contextlib.contextmanager
def bytes_progress(what: str, total: int, *, is_quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; yields a function that takes the bytes of each piece as it is read or written."""
    with _bar(is_quiet) as bar:
        yield partial(bar.advance, bar.add_task(what, total=total))


@contextlib.contextmanager
def download_progress(what: str, *, is_quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; yields a function that takes the bytes that are here, and all bytes."""
    with _bar(is_quiet) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar(is_quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    is_off = is_quiet or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=is_off)


@contextlib.contextmanager
def working(what: str, *, is_quiet: bool) -> Iterator[Callable[[str], None]]:
    """A spinner on standard error; yields `say` for meanwhile: the spinner is taken away before the line is printed."""
    if is_quiet or not sys.stderr.isatty():
        yield say
        return
    with Console(stderr=True).status(what) as spinner:

        def say_between(text: str) -> None:
            spinner.stop()
            say(text)
            spinner.start()

        yield say_between
