"""What goes on, in the terminal: a live table where there is one, a line every few seconds where there is not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import requests
from rich.console import Console
from rich.live import Live
from rich.table import Table

REFRESH = 0.5  # seconds
QUIET_REFRESH = 5.0  # seconds between lines when nobody watches


async def show(status_url: str, console: Console) -> None:
    """Show cameras and what was seen, for ever."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(QUIET_REFRESH)
            for row in cameras(await fetch(status_url)):
                console.print("  ".join(f"{name} {value}" for name, value in row.items()))
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            live.update(table(await fetch(status_url)), refresh=True)
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
