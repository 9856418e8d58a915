"""What the panel of charts over all variants shows. Pure functions from the state to plain values."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from workbench import charts
from workbench.charts import column, drawable
from workbench.errors import WorkbenchError
from workbench.frames.limits import Limit, bound_on, read_limits
from workbench.frames.pareto import more_is_better
from workbench.measure.judgement import NEAR
from workbench.report.words import count
from workbench.search.outlook import outlook
from workbench_widgets import rows, search_state
from workbench_widgets.remembered import remembered
from workbench_widgets.seam.cells import Option
from workbench_widgets.seam.chart_view import Axis, ChartView, Elsewhere, LimitField, LimitRule
from workbench_widgets.store import State

TABS: tuple[Option, ...] = (
    {"value": "tradeoff", "label": "Trade-off"},
    {"value": "speedup", "label": "Predicted or true?"},
    {"value": "parallel", "label": "All figures"},
    {"value": "lineage", "label": "Lineage"},
)
CAPTIONS = {
    "speedup": "On the dotted line a variant is as fast as its memory access and MACs promise; an interval within "
    f"{NEAR:.0%} of it counts as predicted. Bars: 95 % intervals.",
    "parallel": "One line a variant; the further right, the better. Each axis ends at the worst and the best figure.",
    "lineage": "Each variant hangs under the one whose recipe it continues.",
}
WORDS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}

EDITED = "edited"  # what the chart knows the recipe being edited by

AXES: tuple[Axis, ...] = ("x", "y")


def chart(state: State) -> ChartView:
    """A chart's specification apart from its rows, so that the page can patch a view that is drawn."""
    frame, axes = rows.everything(state), rows.axes(state)
    drawn, summary = _drawn(state, frame)
    known = drawable(frame)
    return {
        "spec": _spec(state.tab, *(axes or (state.x, state.y)), state.size, tuple(sorted(state.log))),
        "rows": drawn,
        "summary": summary,
        "tabs": list(TABS),
        "tab": state.tab,
        "axes": {"x": state.x, "y": state.y, "size": state.size} if state.tab == "tradeoff" and known else None,
        "log": sorted(state.log),
        "options": [{"value": name, "label": column(name).label} for name in known],
        "shown": charts.parallel_columns(frame, state.parallel, state.y) if state.tab == "parallel" else None,
        "limit": _limit(state, frame),
        "rules": [_rule(state, frame, axis, name) for axis, name in zip(AXES, axes, strict=True)] if axes else [],
        "caption": _caption(state, frame),
        "elsewhere": _elsewhere(state, frame),
        "empty": "" if drawn else "Nothing measured yet. The original comes first, by itself.",
    }


def _drawn(state: State, frame: pd.DataFrame) -> tuple[list[dict[str, Any]], str]:
    """The rows of the chart, and the chart in words."""
    front = {"x": state.x, "y": state.y}
    if state.tab == "parallel":
        points = charts.parallel_points(frame, state.parallel, **front)
        return charts.records(points), charts.parallel_summary(frame, state.parallel, state.y)
    if state.tab == "lineage":
        return charts.records(charts.lineage_points(frame, **front)), charts.lineage_summary(frame)
    x, y = rows.axes(state) or (state.x, state.y)
    measured, said = _measured(frame, state.tab, x, y, state.size)
    if state.tab != "tradeoff":
        return measured, said
    hollow = charts.predicted_points(frame, predicted(state), x, y)
    return measured + charts.records(hollow), said + charts.predicted_summary(hollow, x, y)


@remembered
def _measured(frame: pd.DataFrame, tab: str, x: str, y: str, size: str) -> tuple[list[dict[str, Any]], str]:
    """What was measured, as rows and in words: the same while a recipe is edited."""
    points = charts.speedup_points(frame, size) if tab == "speedup" else charts.points(frame, x, y, size)
    return charts.records(points), charts.summary(frame, x, y)


def predicted(state: State) -> pd.DataFrame:
    """What is predicted of the search's front and of the recipe being edited, in the columns of the frame."""
    study, search = state.study, search_state.of(state)
    original = state.original()
    if study is None or original is None:
        return pd.DataFrame()
    rows = [
        {"id": f"{search_state.PROMISE} {n}", "name": one.recipe.name, "kind": "front", **one.figures}
        for n, one in enumerate(search.front if search else ())
    ]
    plan = state.plan if state.planned == state.recipe else None
    if plan is not None and plan.changes and not plan.problem and study.find(state.recipe) is None:
        figures = outlook(plan, original, study.task.principal)
        rows.append({"id": EDITED, "name": state.recipe.name, "kind": "recipe", **figures})
    return pd.DataFrame(rows)


@lru_cache(maxsize=64)
def _spec(tab: str, x: str, y: str, size: str, log: tuple[str, ...]) -> dict[str, Any]:
    """The chart without rows: the page patches them into a view that is drawn."""
    empty = pd.DataFrame(columns=list(dict.fromkeys((x, y, size))))
    drawings: dict[str, Callable[[], alt.LayerChart]] = {
        "tradeoff": lambda: charts.tradeoff(empty, x, y, size=size, log=log),
        "speedup": lambda: charts.speedup(empty, size=size),
        "parallel": lambda: charts.parallel(empty),
        "lineage": lambda: charts.lineage(empty),
    }
    found: dict[str, Any] = drawings[tab]().to_dict()
    return found


def _caption(state: State, frame: pd.DataFrame) -> str:
    area = f"Area: {charts.lower(column(state.size).label)}. Bars: 95 % intervals. Dashed: the Pareto front."
    text = CAPTIONS.get(state.tab, area + _hollow(state))
    if frame.empty or not frame["elsewhere"].any():
        return text
    converted = (frame["latency_note"] != "").any() and state.x == "latency_ms"
    how = ", in milliseconds the original's here over their speed-up there" if converted else ""
    return f"{text} Hollow: measured elsewhere{how}."


def _hollow(state: State) -> str:
    """What the hollow marks of the trade-off are."""
    found = predicted(state)
    kinds = set(found["kind"]) if len(found) else set()
    front = " Dotted, hollow diamonds: the front that the search predicts; choose one to edit its recipe."
    edited = (
        " Hollow triangle: the recipe being edited, as predicted; on a dashed line, how good its answers are is not "
        "known before it runs."
    )
    return (front if "front" in kinds else "") + (edited if "recipe" in kinds else "")


def _limit(state: State, frame: pd.DataFrame) -> LimitField:
    said = ""
    if state.limit.strip() and not state.limit_problem and len(frame):
        met = int(frame["feasible"].sum())
        said = f"{met} of {count(len(frame), 'variant', 'variants')} within the limits; the others are grey."
    return {"text": state.limit, "problem": state.limit_problem, "said": said}


def bound(state: State, frame: pd.DataFrame, name: str) -> tuple[Limit, bool]:
    """The limit that an axis' rule stands for, and whether it is set; an unset one allows everything."""
    try:
        limits = read_limits(state.limit)
    except WorkbenchError:  # said beside the field where it was typed
        limits = ()
    found = bound_on(limits, name)
    return found or Limit(name, ">=" if more_is_better(frame, name) else "<=", 0.0), found is not None


def _rule(state: State, frame: pd.DataFrame, axis: Axis, name: str) -> LimitRule:
    """An axis' limit, as a rule that can be dragged; without a value it rests at the end that allows everything."""
    limit, is_set = bound(state, frame, name)
    shown = column(name)
    return {
        "axis": axis,
        "label": f"Limit: {charts.lower(shown.label)} {WORDS[limit.comparison]}",
        "sign": {">=": "≥", "<=": "≤"}.get(limit.comparison, limit.comparison),
        "low": limit.comparison.startswith(">"),  # it is the lowest that is allowed
        "value": limit.value / shown.scale if is_set else None,
        "unit": shown.text(0.0).removeprefix(shown.number(0.0)),
        "column": name,
    }


def _elsewhere(state: State, frame: pd.DataFrame) -> Elsewhere | None:
    if state.published is None or frame.empty or not frame["elsewhere"].any():
        return None
    number, day = int(frame["elsewhere"].sum()), state.published.created
    variants = "These variants were" if number == len(frame) else f"{count(number, 'variant was', 'variants were')}"
    return {
        "text": f"{variants} measured elsewhere, on {day}: {state.published.machine}.",
        "button": "Measure them here",
        "busy": any(not job.done for job in state.jobs),
    }
