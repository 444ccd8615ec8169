"""What goes on, in the terminal: a live table where there is one, a line every few seconds where there is not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import requests
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

REFRESH = 0.5  # seconds
QUIET_REFRESH = 5.0  # seconds between lines when nobody watches


async def show(status_url: str, console: Console) -> None:
    """Show cameras and what was seen, for ever."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(QUIET_REFRESH)
            status = await fetch(status_url)
            for row in cameras(status):
                console.print("  ".join(f"{name} {value}" for name, value in row.items()), soft_wrap=True)
            for note in notes(status):
                console.print(Text(note), soft_wrap=True)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            status = await fetch(status_url)
            live.update(Group(table(status), *(Text(note, style="yellow") for note in notes(status))), refresh=True)
            await asyncio.sleep(REFRESH)


async def fetch(url: str) -> dict[str, Any]:
    """The status of app-inference; empty while it does not answer."""

    def get() -> dict[str, Any]:
        try:
            answer: dict[str, Any] = requests.get(url, timeout=2).json()
        except (requests.RequestException, ValueError):
            return {}
        return answer

    return await asyncio.to_thread(get)


def cameras(status: dict[str, Any]) -> list[dict[str, str]]:
    """One row a camera."""
    return [
        {
            "camera": row["name"],
            "seen": _seen(row["seen"]),
            "frames/s": f"{row['framesPerSecond']:.1f}",
            "results/s": f"{row['resultsPerSecond']:.1f}",
            "latency p50/p99": _latency(row["latencyMs"]),
            "dropped": str(row["framesReplaced"] + sum(row["dropped"].values())),
        }
        for row in status.get("cameras", ())
    ]


def notes(status: dict[str, Any]) -> list[str]:
    """Pipelines that do not run as configured, and models of which another version serves; each with the reason."""
    waiting = [
        f"pipeline {key} is {it['state']}: {it['note']}"
        for key, it in status.get("pipelineStates", {}).items()
        if it.get("note")
    ]
    serving = [row for row in status.get("models", ()) if row["state"] == "serving" and row.get("reason")]
    return [
        *waiting,
        *(f"model {row['name']} serves with version {row['version']}: {row['reason']}" for row in serving),
    ]


def table(status: dict[str, Any]) -> Table:
    """The rows as a table that fits the terminal."""
    rows = cameras(status)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ("camera", "seen"):
        shown.add_column(
            name, justify="left" if name in ("camera", "seen") else "right", overflow="ellipsis", no_wrap=True
        )
    for row in rows or [{"camera": "…", "seen": "waiting for the first frame"}]:
        shown.add_row(*row.values())
    return shown


def _seen(answers: Sequence[dict[str, Any]]) -> str:
    """What pipelines found, those that found something; each looks for its own things."""
    found = [_found(answer) for answer in answers if answer["count"]]
    return "; ".join(found) or ("nothing" if answers else "nothing yet")


def _found(answer: dict[str, Any]) -> str:
    more = f" x{answer['count']}" if answer["count"] > 1 else ""
    return f"{answer['topLabel']}{more} ({answer['topScore']:.2f})"


def _latency(latency: dict[str, float | None]) -> str:
    if latency["p50"] is None:
        return "-"
    return f"{latency['p50']:.0f} / {latency['p99']:.0f} ms"
