"""What was measured: one value a round, the median of them, and the goal beside it."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit that a figure is to keep."""

    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def at_most(limit: float) -> Goal:
    return Goal(limit)


def at_least(limit: float) -> Goal:
    return Goal(limit, at_least=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: what, in which case, and its value in every round."""

    case: str
    name: str
    unit: str
    values: Sequence[float]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def is_reached(self) -> bool | None:
        """None without a goal."""
        return self.goal.holds(self.value) if self.goal else None


def ratios(ours: Sequence[float], reference: Sequence[float]) -> tuple[float, ...]:
    """Round by round, so that what slows both down in a round takes no part."""
    return tuple(one / other for one, other in zip(ours, reference, strict=True))


def table(title: str, figures: Sequence[Figure]) -> Table:
    """For people."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in ("case", "figure"):
        shown.add_column(column)
    for column in ("median", "min", "max", "", "goal", ""):
        shown.add_column(column, justify="right")
    case = ""
    for it in figures:
        low, high = (text_of(end) if len(it.values) > 1 else "" for end in (min(it.values), max(it.values)))
        again, case = it.case == case, it.case
        shown.add_row("" if again else case, it.name, text_of(it.value), low, high, it.unit, *_goal_cells(it))
    return shown


def as_json(figure: Figure) -> dict[str, Any]:
    """For programs."""
    return {**asdict(figure), "value": figure.value, "isReached": figure.is_reached}


def _goal_cells(figure: Figure) -> tuple[str, str]:
    if figure.goal is None:
        return "", ""
    sign = "≥" if figure.goal.at_least else "≤"
    return f"{sign} {text_of(figure.goal.limit)}", "[green]yes[/]" if figure.is_reached else "[red]no[/]"


def text_of(value: float) -> str:
    """Three digits."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
