"""What the panels of results show: chart, table, one variant. Pure functions from the state to plain values."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import pandas as pd

from workbench import charts
from workbench.charts import COLUMNS
from workbench.export import Manifest, formats
from workbench.pareto import front
from workbench.recipe import Recipe
from workbench.variant import Variant
from workbench_widgets.page import View
from workbench_widgets.session import files
from workbench_widgets.store import State
from workbench_widgets.words import signed, times, verdict

TABS = ({"value": "tradeoff", "label": "Trade-off"}, {"value": "speedup", "label": "Predicted or true?"})
CAPTIONS = {
    "tradeoff": "Area: parameters. Bars: 95 % intervals. Dashed: the Pareto front, which no other variant beats.",
    "speedup": "On the dotted line a variant is as fast as its memory access and MACs promise. Bars: 95 % intervals.",
}
TABLE = ("accuracy", "latency_ms", "speedup", "macs", "params", "memory_access_bytes", "file_bytes")
FACTS = (*TABLE[:3], "predicted_speedup", *TABLE[3:], "compressed_bytes")
MARKS = {
    "Original": {"path": "M-4.5-4.5h9v9h-9z", "colour": charts.COLOURS["Original"]},
    "Pareto front": {"path": "M0-5.8L5-0L0 5.8L-5 0z", "colour": charts.COLOURS["Pareto front"]},
    "Other variant": {
        "path": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
        "colour": charts.COLOURS["Other variant"],
    },
}


def chart(state: State) -> View:
    """A chart's specification apart from its rows, so that the page can patch a view that is drawn."""
    tradeoff = state.tab == "tradeoff"
    x, y = (state.x, state.y) if tradeoff else ("predicted_speedup", "speedup")
    points = charts.points(state.frame, x, y) if tradeoff else charts.speedup_points(state.frame)
    rows = charts.records(points)
    options = [{"value": name, "label": column.label} for name, column in COLUMNS.items() if name in state.frame]
    return {
        "spec": _spec(x, y, tradeoff),
        "rows": rows,
        "selected": state.selected,
        "summary": charts.summary(state.frame, x, y),
        "tabs": list(TABS),
        "tab": state.tab,
        "axes": {"x": x, "y": y} if tradeoff and options else None,
        "options": options,
        "caption": CAPTIONS[state.tab],
        "empty": "" if rows else "Nothing measured yet. The original comes first, by itself.",
    }


@lru_cache(maxsize=64)
def _spec(x: str, y: str, tradeoff: bool) -> dict[str, Any]:
    """The chart without rows: the page patches them into a view that is drawn."""
    empty = pd.DataFrame()
    found: dict[str, Any] = (charts.tradeoff(empty, x, y) if tradeoff else charts.speedup(empty)).to_dict()
    return found


def table(state: State) -> View:
    """One row a variant. Cells carry a value to sort by and the text to show."""
    names = ["name", *(name for name in TABLE if name in state.frame or state.frame.empty)]
    ids = _front(state)
    return {
        "columns": [_heading(name) for name in names],
        "rows": [_row(record, names, ids) for record in state.frame.to_dict("records")],
        "selected": state.selected,
        "empty": "Variants appear here as they are measured.",
        "note": "Small figures are 95 % intervals. Speed-up is measured against the original, taking turns with it.",
    }


def _front(state: State) -> set[str]:
    if state.frame.empty or state.x not in state.frame or state.y not in state.frame:
        return set()
    return set(front(state.frame, state.x, state.y)["id"])


def _heading(name: str) -> dict[str, Any]:
    if name == "name":
        return {"key": name, "label": "Variant", "unit": "", "numeric": False}
    return {"key": name, "label": COLUMNS[name].label, "unit": COLUMNS[name].unit, "numeric": True}


def _row(record: dict[Any, Any], names: list[str], on_front: set[str]) -> dict[str, Any]:
    role = "Original" if record["is_baseline"] else "Pareto front" if record["id"] in on_front else "Other variant"
    return {
        "id": record["id"],
        "name": record["name"],
        "mark": {**MARKS[role], "label": role},
        "cells": [{"value": record["name"], "text": record["name"]}, *(_cell(record, name) for name in names[1:])],
    }


def _cell(record: dict[Any, Any], name: str) -> dict[str, Any]:
    value, shown = record[name], COLUMNS[name]
    if value is None or math.isnan(value):
        return {"value": None, "text": "not measured"}
    low, high = record.get(f"{name}_low", value), record.get(f"{name}_high", value)
    interval = f"{shown.number(low)} to {shown.number(high)}" if low < high else ""
    return {"value": value, "text": shown.number(value), "sub": interval}


def variant(state: State) -> View:
    """The chosen variant: its figures against the original's, its warnings, its export."""
    if state.study is None or not state.selected:
        return {"id": "", "name": "", "empty": "Choose a variant in the table or the chart to see and export it."}
    chosen, original = state.study[state.selected], state.study.find(Recipe())
    is_original = original is None or chosen.id == original.id
    manifest = dict(state.exported).get(chosen.id)
    return {
        "id": chosen.id,
        "name": chosen.name.capitalize() if is_original else chosen.name,
        "tag": "",
        "verdict": "" if original is None or is_original else verdict(chosen, original),
        "figures": [_fact(name, chosen, original) for name in FACTS if name in chosen.estimates],
        "notes": list(chosen.notes),
        "formats": formats(),
        "exporting": state.exporting == chosen.id,
        "exported": None if manifest is None else _export(manifest),
    }


def _fact(name: str, chosen: Variant, original: Variant | None) -> dict[str, str]:
    estimate, shown = chosen[name], COLUMNS[name]
    exact = estimate.low == estimate.high
    fact = {
        "label": shown.label,
        "text": shown.text(estimate.value),
        "interval": "" if exact else f"{shown.number(estimate.low)} to {shown.number(estimate.high)}",
        "change": "",
        "trend": "",
    }
    # Milliseconds of two separate runs do not compare: the speed-up, measured in turns, is their comparison.
    if original is None or original.id == chosen.id or name in {"latency_ms", "speedup", "predicted_speedup"}:
        return fact
    if name == "accuracy":
        return fact | {"change": f"{signed(100 * (estimate.value - original[name].value))} points"}
    change, trend = times(original[name].value, estimate.value)
    return fact | {"change": change, "trend": trend}


def _export(manifest: Manifest) -> dict[str, Any]:
    checked = manifest.verified
    return {
        "key": manifest.created,
        "sentence": f"Verified: the file was read back and gets {checked['accuracy']:.2%} of the test images right.",
        "folder": str(manifest.path),
        "files": [{"name": name, "bytes": size, "size": _size(size)} for name, size in files(manifest).items()],
    }


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
