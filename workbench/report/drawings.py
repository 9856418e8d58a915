"""The charts of a report: specifications and rows, which the page draws by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench import charts
from workbench.cost.by_layer import to_frame
from workbench.measure.wording import points
from workbench.report.classes import Classes
from workbench.report.layers import Line
from workbench.report.subject import Subject


@dataclass(frozen=True)
class Drawing:
    """A chart's specification and rows as JSON that stands within HTML, and the chart in words."""

    json: str
    summary: str


def drawing(chart: Any, summary: str, selected: str = "") -> Drawing:
    """A chart as the page draws it."""
    spec = chart.to_dict()
    rows = spec["data"].pop("values")
    text = json.dumps({"spec": spec, "rows": rows, "summary": summary, **({"selected": selected} if selected else {})})
    return Drawing(text.replace("<", "\\u003c"), summary)


def front(about: Subject) -> Drawing:
    """All variants: what they are judged by against what was to be small."""
    frame, x = about.frame, "speedup" if about.asked.goal.minimise == "latency_ms" else about.asked.goal.minimise
    y = about.metric.name
    selected = about.chosen.id if about.chosen is not None else ""
    return drawing(charts.tradeoff(frame, x, y), charts.summary(frame, x, y), selected)


def predicted(about: Subject) -> Drawing | None:
    """Measured against predicted speed-up; None where nothing was predicted."""
    frame = about.frame
    if frame["predicted_speedup"].isna().all():
        return None
    selected = about.chosen.id if about.chosen is not None else ""
    return drawing(charts.speedup(frame), charts.summary(frame, "predicted_speedup", "speedup"), selected)


def class_chart(classes: Classes, most: int) -> Drawing | None:
    """The change of every class, of many those that suffer most; None where no class is known."""
    shown = classes.rows[:most]
    if not shown:
        return None
    rows = [
        {"id": one.name, "name": one.name, "n": one.n, "change": 100 * one.change.value, "low": 100 * one.change.low,
         "high": 100 * one.change.high} for one in shown
    ]  # fmt: skip
    worst = shown[0]
    sure = sum(not one.change.holds(0) for one in shown)
    summary = (
        f"Change of each of {len(shown)} classes on the same test inputs. Most is lost in {worst.name}: "
        f"{points(worst.change)}. The intervals of {sure} leave out zero."
    )
    return drawing(charts.by_class(pd.DataFrame(rows), "Change (points)"), summary)


def layer_chart(found: Sequence[Line]) -> Drawing:
    """MACs of every layer before and after."""
    frame = to_frame(one.pair for one in found if any(one.pair.cost("macs")))
    return drawing(charts.cost_by_layer(frame, "macs"), charts.cost_summary(frame, "macs"))
