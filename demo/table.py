"""The terminal's view: a live table, or without a terminal a line for each camera every few seconds."""

import asyncio
from typing import Any

import requests
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

REFRESH = 0.5  # seconds
QUIET_REFRESH = 5.0  # seconds, without a terminal


async def show(status_url: str, console: Console) -> None:
    """Show cameras and detections until cancelled."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(QUIET_REFRESH)
            status = await asyncio.to_thread(_status, status_url)
            lines = ["  ".join(f"{name} {value}" for name, value in row.items()) for row in cameras(status)]
            for line in [*lines, *notes(status)]:
                console.print(Text(line), soft_wrap=True)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            status = await asyncio.to_thread(_status, status_url)
            live.update(Group(_table(status), *(Text(note, style="yellow") for note in notes(status))), refresh=True)
            await asyncio.sleep(REFRESH)


def cameras(status: dict[str, Any]) -> list[dict[str, str]]:
    """One row a camera."""
    return [
        {
            "camera": row["name"],
            "seen": _seen(row["seen"]),
            "frames/s": f"{row['framesPerSecond']:.1f}",
            "results/s": f"{row['resultsPerSecond']:.1f}",
            "latency p50/p99": "{p50:.0f} / {p99:.0f} ms".format(**row["latencyMs"])
            if row["latencyMs"]["p50"]
            else "-",
            "dropped": str(sum(row["dropped"].values())),
        }
        for row in status.get("cameras", ())
    ]


def notes(status: dict[str, Any]) -> list[str]:
    """Cameras without frames, pipelines and models that do not run as configured; each with its reason."""
    cameras = [row for row in status.get("cameras", ()) if row.get("state") in ("lost", "stale", "overloaded")]
    pipelines = status.get("pipelineStates", {}).items()
    models = [row for row in status.get("models", ()) if row["state"] == "serving" and row.get("reason")]
    return [
        *(f"camera {row['name']} is {row['state']}: {row['reason']}".removesuffix(": ") for row in cameras),
        *(f"pipeline {key} is {it['state']}: {it['note']}" for key, it in pipelines if it.get("note")),
        *(f"model {row['name']} serves with version {row['version']}: {row['reason']}" for row in models),
    ]


def _status(url: str) -> dict[str, Any]:
    """The status of app-inference; empty while it does not answer."""
    try:
        answer: dict[str, Any] = requests.get(url, timeout=2).json()
    except (requests.RequestException, ValueError):
        return {}
    return answer


def _table(status: dict[str, Any]) -> Table:
    """The rows as a table that fits the terminal."""
    rows = cameras(status) or [{"camera": "…", "seen": "waiting for the first frame"}]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        justify: Any = "left" if name in ("camera", "seen") else "right"
        shown.add_column(name, justify=justify, overflow="ellipsis", no_wrap=True)
    for row in rows:
        shown.add_row(*row.values())
    return shown


def _seen(results: list[dict[str, Any]]) -> str:
    """What the pipelines have detected."""
    found = [f"{it['topLabel']}{_times(it['count'])} ({it['topScore']:.2f})" for it in results if it["count"]]
    return "; ".join(found) or ("no objects" if results else "nothing yet")


def _times(count: int) -> str:
    return f" x{count}" if count > 1 else ""
