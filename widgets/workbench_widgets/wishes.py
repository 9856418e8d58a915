"""What a search is asked for on the screen: figures to limit, each with its unit, its words and a sensible start."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from workbench.charts import column, lower
from workbench.errors import BadValue
from workbench.plan import Plan
from workbench.tasks import Metric
from workbench.untrusted import quota

#: On a published page a job may take so long; a search ends later than planned by what it has begun, so it plans less.
PLANNED_SHARE = 0.7


@dataclass(frozen=True)
class Bound:
    """A row of the limits: which figure, and the number as it was typed."""

    figure: str
    text: str


@dataclass(frozen=True)
class Wish:
    """What to make small, under which limits, in how many minutes (as typed), and whether by training too."""

    minimise: str = "latency_ms"
    bounds: tuple[Bound, ...] = (Bound("loss", "1"),)
    minutes: str = "10"
    train: bool = False


@dataclass(frozen=True)
class Figure:
    """What can be limited: its label, the words before the number, the unit behind it, and how the engine reads it.

    `start` gives the number to begin with from the plan of the original.
    """

    label: str
    words: str
    unit: str
    write: Callable[[float], str]
    start: Callable[[Plan], float]


def figures(metric: Metric) -> dict[str, Figure]:
    """What can be limited in a study that is judged by this metric, in the order of the menu."""
    scale, unit = (0.01, "points") if metric.share else (1.0, metric.unit)
    name, more = metric.name, metric.more_is_better
    sign, side = ("-", ">=") if more else ("+", "<=")
    word = column(name).label
    return {
        "loss": Figure(
            f"{'Loss of' if more else 'Rise of'} {lower(word)}", "at most", unit,
            lambda value: f"{name} {side} baseline {sign} {_plain(value * scale)}", lambda plan: 1.0,
        ),
        "floor": Figure(
            word, "at least" if more else "at most", "%" if metric.share else unit,
            lambda value: f"{name} {side} {_plain(value * scale)}", lambda plan: 90.0 if metric.share else 1.0,
        ),
        "speedup": Figure("Speed-up", "at least", "×", lambda value: f"speedup >= {_plain(value)}", lambda plan: 2.0),
        "latency_ms": Figure(
            "Latency", "at most", "ms", lambda value: f"latency_ms <= {_plain(value)}",
            lambda plan: _round(plan.latency_ms / 2),
        ),
        "params": Figure(
            "Parameters", "at most", "% of the original", lambda value: f"params <= {_plain(_share(value))}",
            lambda plan: 50.0,
        ),
        "macs": Figure(
            "MACs", "at most", "% of the original", lambda value: f"macs <= {_plain(_share(value))}", lambda plan: 50.0
        ),
        "peak_activation_bytes": Figure(
            "RAM for activations", "at most", "kB", lambda value: f"peak_activation_bytes <= {_plain(value * 1e3)}",
            lambda plan: _round(plan.peak_activation_bytes / 2e3),
        ),
        "file_bytes": Figure(
            "File size (flash)", "at most", "kB", lambda value: f"file_bytes <= {_plain(value * 1e3)}",
            lambda plan: _round(plan.file_bytes / 2e3),
        ),
    }  # fmt: skip


def limit(bound: Bound, known: Figure) -> str:
    """A row as the engine reads it. Raises: `BadValue` for what is no positive number."""
    return known.write(_number(bound.text, f"{known.label}: {known.words}"))


def where(wish: Wish, metric: Metric) -> list[str]:
    """Every limit as the engine reads it. Raises: `BadValue` naming the row."""
    known = figures(metric)
    return [limit(one, known[one.figure]) for one in wish.bounds]


def minutes(wish: Wish) -> float:
    """The time that it may take. Raises: `BadValue`, also where this page allows less."""
    found, most = _number(wish.minutes, "Time for the search"), longest()
    if found > most:
        raise BadValue(
            f"Time for the search: {found:g} minutes are more than the {most:g} that a search may plan on this page."
        )
    return found


def longest() -> float:
    """The minutes that a search may plan here; infinite where nothing is published."""
    allowed = quota.here().job_minutes
    return math.inf if allowed is None else _round(PLANNED_SHARE * allowed)


def _number(text: str, what: str) -> float:
    try:
        found = float(text.strip().replace(",", "."))
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise BadValue(f"{what} {text.strip() or 'nothing'!r} is no number above 0. Type one, such as 1.5.")
    return found


def _share(percent: float) -> float:
    if percent > 100:
        raise BadValue(f"{percent:g} % of the original is no limit: a search makes it smaller. Give at most 100.")
    return percent / 100


def _plain(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _round(value: float) -> float:
    """To two digits, so that a number to begin with reads as one."""
    return float(f"{value:.2g}")
