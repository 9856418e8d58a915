"""What the table of all variants shows. Pure functions from the state to plain values."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from workbench import charts
from workbench.charts import column
from workbench.studies.lineage import lineage
from workbench_widgets import exporting, rows
from workbench_widgets.seam.cells import Cell, Heading, Label
from workbench_widgets.seam.chart_view import TableView, VariantRow
from workbench_widgets.store import State
from workbench_widgets.variant import label_of

NOTE = (
    "Small figures are 95 % intervals. Changes are counted on the same images as the original's answers; speed-up is "
    "measured against the original, taking turns with it."
)
CONVERTED = " Milliseconds measured elsewhere are the original's here over the variant's speed-up there."
TABLE = (
    "latency_ms", "speedup", "macs", "params", "memory_access_bytes", "file_bytes", "energy_uj",
)  # fmt: skip
#: Columns of words that can be shown beside the figures.
WORDS = {"tags": "Tags", "annotation": "Note", "created": "Measured at", "machine": "Machine"}
PATHS = {
    "Original": "M-4.5-4.5h9v9h-9z",
    "Pareto front": "M0-5.8L5-0L0 5.8L-5 0z",
    "Other variant": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
}


def table(state: State) -> TableView:
    """One row a variant. Cells carry a value to sort by and the text to show."""
    frame = rows.everything(state)
    names = ["name", *shown(state, frame)]
    roles = charts.roles(frame, state.x, state.y)
    labels = _labels(state)
    found = [
        _row(record, names, role) | {"label": labels.get(record["id"])}
        for record, role in zip(frame.to_dict("records"), roles, strict=True)
    ]
    if state.lineage and len(frame):
        found = [found[place.row] | {"depth": place.depth} for place in lineage(charts.steps_of(frame))]
    return {
        "columns": [_heading(name) for name in names],
        "rows": found,
        "lineage": state.lineage,
        "archived": state.archived,
        "hidden": 0 if state.frame.empty else int(state.frame["archived"].sum()),
        "options": [{"value": name, "label": _label(name)} for name in (*charts.drawable(frame), *WORDS)],
        "beside": list(state.beside),
        "files": exporting.tables() if len(frame) else [],
        "empty": "Variants appear here as they are measured.",
        "note": NOTE + (CONVERTED if len(frame) and (frame["latency_note"] != "").any() else ""),
    }


def shown(state: State, frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns of the table behind the name: those that were chosen, else the usual ones of which there are any."""
    if state.columns:
        return tuple(name for name in state.columns if frame.empty or name in frame)
    return tuple(name for name in (*rows.qualities(state), *TABLE) if frame.empty or _known(frame, name))


def _labels(state: State) -> dict[str, Label]:
    """What the user says of each variant that was measured here, by id."""
    known = state.study.variants if state.study else []
    return {one.id: label_of(one, alone=len(known) == 1) for one in known}


def _label(name: str) -> str:
    return WORDS.get(name) or column(name).label


def _known(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and bool(frame[name].notna().any())


def _heading(name: str) -> Heading:
    if name == "name":
        return {"key": name, "label": "Variant", "unit": "", "numeric": False}
    if name in WORDS:
        return {"key": name, "label": WORDS[name], "unit": "", "numeric": False}
    about = column(name)
    return {"key": name, "label": about.label, "unit": about.unit, "numeric": True}


def _row(record: dict[Any, Any], names: list[str], role: str) -> VariantRow:
    remarks = [
        *(["elsewhere"] if record["elsewhere"] else []),
        *([] if record["feasible"] else ["outside the limits"]),
        *([record["tags"]] if record["tags"] else []),
        *(["archived"] if record["archived"] else []),
    ]
    return {
        "id": record["id"],
        "name": record["name"],
        "mark": {"path": PATHS[role], "colour": charts.COLOURS[role], "label": role, "hollow": record["elsewhere"]},
        "grey": not record["feasible"],
        "remark": ", ".join(remarks),
        "why": record["verdict"],
        "depth": 0,
        "label": None,
        "cells": [{"value": record["name"], "text": record["name"]}, *(_cell(record, name) for name in names[1:])],
    }


def _cell(record: dict[Any, Any], name: str) -> Cell:
    if name in WORDS:
        text = str(record[name])
        return {"value": text, "text": text.replace("T", " ") if name == "created" else text}
    value, about = record[name], column(name)
    if value is None or math.isnan(value):
        return {"value": None, "text": "not measured"}
    low, high = record.get(f"{name}_low", value), record.get(f"{name}_high", value)
    interval = f"{about.number(low)} to {about.number(high)}" if low < high else ""
    return {"value": value, "text": about.number(value), "sub": interval}
