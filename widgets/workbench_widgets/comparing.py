"""What two variants side by side show: differences only."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from workbench.charts import COLUMNS, column
from workbench.cost.by_layer import COSTS
from workbench.diagnosis import Comparison
from workbench.diagnosis.comparison import EXACT, SPEED, Contrast, figures, layers, steps
from workbench.frames.pareto import more_is_better
from workbench.measure.wording import UNSURE, signed
from workbench.report.words import difference
from workbench.variant import Variant
from workbench_widgets.formatting import change, trend
from workbench_widgets.pictures import pictures
from workbench_widgets.rows import judged_by
from workbench_widgets.seam.comparison_view import Answers, ClassOfBoth, ComparisonView, FigureOfBoth, LayerOfBoth
from workbench_widgets.store import State

MISSING = "Class by class and image by image needs the files of both: measure them on this machine first."
NOISE = "Own error, dB"


def comparison(state: State, second: Variant) -> ComparisonView | None:
    """What becomes of the one beside it in the chosen variant: steps, figures, layers and, once asked for, answers."""
    first = state.variant(state.compared)
    if first is None or first.id == second.id or state.study is None:
        return None
    found = dict(state.comparisons).get((first.id, second.id))
    here = {one.id for one in state.study.variants}
    known = {*COLUMNS, *judged_by(state)}
    rows, ratio = _layers(first, second, found), found.ratio if found else None
    return {
        "names": [first.name, second.name],
        "recipe": [{"only": whose.name, "step": text} for whose, text in steps(first, second)],
        "figures": [_figure(one, state.frame) for one in figures(first, second, ratio) if one.name in known],
        "columns": [*(COLUMNS[name].label for name in COSTS), *([NOISE] if found else [])],
        "layers": rows,
        "same": "" if rows else "Every layer costs the same in both.",
        "missing": "" if {first.id, second.id} <= here else MISSING,
        "busy": any(not job.done for job in state.jobs),
        "answers": _answers(found) if found else None,
    }


def _figure(one: Contrast, frame: pd.DataFrame) -> FigureOfBoth:
    shown = column(one.name)
    said, way = change_of(one, frame)
    return {
        "label": shown.label, "one": shown.text(one.first.value), "two": shown.text(one.second.value),
        "change": said, "trend": way,
    }  # fmt: skip


def change_of(one: Contrast, frame: pd.DataFrame) -> tuple[str, str]:
    """What becomes of a figure with the interval of the difference and how that is known; better, worse or neither."""
    if one.how == EXACT:
        return change(one.name, one.first, one.second)
    if one.change is None:
        return one.how, ""
    unsure = "" if one.distinguishable else f"{UNSURE}: "
    if one.name == SPEED:
        way = "" if unsure else "wb-better" if one.change.value > 1 else "wb-worse"
        interval = f"{one.change.low:.2f} to {one.change.high:.2f}"
        return f"{unsure}{one.change.value:.2f}× as fast ({interval}), {one.how}", way
    return f"{unsure}{difference(one.name, one.change)}", trend(one.change, more_is_better(frame, one.name))


def _layers(first: Variant, second: Variant, found: Comparison | None) -> list[LayerOfBoth]:
    costs = layers(first, second)
    if found is None:
        return [{"layer": name, "cells": [_pair(cost, *pair[cost]) for cost in COSTS]} for name, pair in costs.items()]
    return [
        {
            "layer": row["layer"],
            "cells": [
                *(_pair(cost, *costs[row["layer"]][cost]) if row["layer"] in costs else "same" for cost in COSTS),
                _noise(row["own_sqnr_db_first"], row["own_sqnr_db_second"]),
            ],
        }
        for row in found.layers.to_dict("records")
    ]


def _pair(cost: str, a: int, b: int) -> str:
    shown = COLUMNS[cost]
    return "same" if a == b else f"{shown.number(a)} → {shown.text(b)}"


def _noise(a: float, b: float) -> str:
    if math.isnan(a) and math.isnan(b):
        return "same"
    return " → ".join("–" if math.isnan(one) else "exact" if math.isinf(one) else f"{one:.1f}" for one in (a, b))


def _answers(found: Comparison) -> Answers:
    """Class by class and image by image."""
    if found.answers is None:
        return {"sentences": str(found).splitlines(), "classes": [], "pictures": None}
    return {
        "sentences": str(found).splitlines(),
        "classes": [_class(row) for row in found.classes.to_dict("records")],
        "pictures": pictures(found),
    }


def _class(row: dict[Any, Any]) -> ClassOfBoth:
    sure = row["drop_low"] > 0 or row["drop_high"] < 0
    low, high = sorted((-100 * row["drop_low"], -100 * row["drop_high"]))
    return {
        "name": str(row["name"]),
        "one": f"{100 * row['before']:.1f} %",
        "two": f"{100 * row['after']:.1f} %",
        "change": f"{signed(-100 * row['drop'], 1)} ({signed(low, 1)} to {signed(high, 1)})",
        "sure": "" if sure else UNSURE,
        "taken": "" if pd.isna(row["taken_for"]) else str(row["taken_for"]),
    }
