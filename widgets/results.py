"""What the panels over all variants show: chart and table. Pure functions from the state to plain values."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

import pandas as pd

from workbench import charts
from workbench.charts import COLUMNS
from workbench.pareto import front
from workbench_widgets import rows
from workbench_widgets.page import View
from workbench_widgets.store import State
from workbench_widgets.words import count

TABS = ({"value": "tradeoff", "label": "Trade-off"}, {"value": "speedup", "label": "Predicted or true?"})
SPEEDUP = "On the dotted line a variant is as fast as its memory access and MACs promise. Bars: 95 % intervals."
NOTE = "Small figures are 95 % intervals. Speed-up is measured against the original, taking turns with it."
TABLE = ("accuracy", "latency_ms", "speedup", "macs", "params", "memory_access_bytes", "file_bytes")
PATHS = {
    "Original": "M-4.5-4.5h9v9h-9z",
    "Pareto front": "M0-5.8L5-0L0 5.8L-5 0z",
    "Other variant": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
}


def chart(state: State) -> View:
    """A chart's specification apart from its rows, so that the page can patch a view that is drawn."""
    tradeoff = state.tab == "tradeoff"
    x, y = (state.x, state.y) if tradeoff else ("predicted_speedup", "speedup")
    frame = rows.everything(state)
    points = charts.points(frame, x, y, state.size) if tradeoff else charts.speedup_points(frame, state.size)
    drawn = charts.records(points)
    options = [
        {"value": name, "label": column.label}
        for name, column in COLUMNS.items()
        if name in frame and frame[name].notna().any()
    ]
    return {
        "spec": _spec(x, y, state.size, tuple(sorted(state.log)), tradeoff),
        "rows": drawn,
        "summary": charts.summary(frame, x, y),
        "tabs": list(TABS),
        "tab": state.tab,
        "axes": {"x": x, "y": y, "size": state.size} if tradeoff and options else None,
        "log": sorted(state.log),
        "options": options,
        "limit": _limit(state, frame),
        "caption": _caption(state, frame) if tradeoff else SPEEDUP,
        "elsewhere": _elsewhere(state, frame),
        "empty": "" if drawn else "Nothing measured yet. The original comes first, by itself.",
    }


@lru_cache(maxsize=64)
def _spec(x: str, y: str, size: str, log: tuple[str, ...], tradeoff: bool) -> dict[str, Any]:
    """The chart without rows: the page patches them into a view that is drawn."""
    empty = pd.DataFrame()
    drawing = charts.tradeoff(empty, x, y, size=size, log=log) if tradeoff else charts.speedup(empty, size=size)
    found: dict[str, Any] = drawing.to_dict()
    return found


def _caption(state: State, frame: pd.DataFrame) -> str:
    text = f"Area: {charts.lower(COLUMNS[state.size].label)}. Bars: 95 % intervals. Dashed: the Pareto front."
    return text + " Hollow: measured elsewhere." if len(frame) and frame["elsewhere"].any() else text


def _limit(state: State, frame: pd.DataFrame) -> dict[str, str]:
    said = ""
    if state.limit.strip() and not state.limit_problem and len(frame):
        met = int(frame["feasible"].sum())
        said = f"{met} of {count(len(frame), 'variant', 'variants')} within the limits; the others are grey."
    return {"text": state.limit, "problem": state.limit_problem, "said": said}


def _elsewhere(state: State, frame: pd.DataFrame) -> dict[str, Any] | None:
    if state.published is None or frame.empty or not frame["elsewhere"].any():
        return None
    number, day = int(frame["elsewhere"].sum()), state.published.created
    variants = "These variants were" if number == len(frame) else f"{count(number, 'variant was', 'variants were')}"
    return {
        "text": f"{variants} measured elsewhere, on {day}: {state.published.machine}.",
        "button": "Measure them here",
        "busy": any(not job.done for job in state.jobs),
    }


def table(state: State) -> View:
    """One row a variant. Cells carry a value to sort by and the text to show."""
    frame = rows.everything(state)
    names = ["name", *(name for name in TABLE if name in frame or frame.empty)]
    ids = _front(state, frame)
    found = [_row(record, names, ids) for record in frame.to_dict("records")]
    if state.lineage and len(frame):
        steps = [[json.dumps(step) for step in json.loads(recipe)] for recipe in frame["recipe"]]
        found = [found[index] | {"depth": depth} for index, depth in rows.lineage(steps)]
    return {
        "columns": [_heading(name) for name in names],
        "rows": found,
        "lineage": state.lineage,
        "empty": "Variants appear here as they are measured.",
        "note": NOTE,
    }


def _front(state: State, frame: pd.DataFrame) -> set[str]:
    if frame.empty or state.x not in frame or state.y not in frame:
        return set()
    return set(front(charts.competing(frame), state.x, state.y)["id"])


def _heading(name: str) -> dict[str, Any]:
    if name == "name":
        return {"key": name, "label": "Variant", "unit": "", "numeric": False}
    return {"key": name, "label": COLUMNS[name].label, "unit": COLUMNS[name].unit, "numeric": True}


def _row(record: dict[Any, Any], names: list[str], on_front: set[str]) -> dict[str, Any]:
    role = "Original" if record["is_baseline"] else "Pareto front" if record["id"] in on_front else "Other variant"
    remarks = [
        *(["elsewhere"] if record["elsewhere"] else []),
        *([] if record["feasible"] else ["outside the limits"]),
    ]
    return {
        "id": record["id"],
        "name": record["name"],
        "mark": {"path": PATHS[role], "colour": charts.COLOURS[role], "label": role, "hollow": record["elsewhere"]},
        "grey": not record["feasible"],
        "remark": ", ".join(remarks),
        "depth": 0,
        "cells": [{"value": record["name"], "text": record["name"]}, *(_cell(record, name) for name in names[1:])],
    }


def _cell(record: dict[Any, Any], name: str) -> dict[str, Any]:
    value, shown = record[name], COLUMNS[name]
    if value is None or math.isnan(value):
        return {"value": None, "text": "not measured"}
    low, high = record.get(f"{name}_low", value), record.get(f"{name}_high", value)
    interval = f"{shown.number(low)} to {shown.number(high)}" if low < high else ""
    return {"value": value, "text": shown.number(value), "sub": interval}
