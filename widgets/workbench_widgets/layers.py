"""What the region of layers shows: the cost of each, before and after the recipe, and what the recipe does to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from workbench import charts
from workbench.charts import COLUMNS
from workbench.cost.by_layer import COSTS, Pair, to_frame
from workbench.plan import Row
from workbench.report.layers import layer_shape, rows_by_layer, weight_error
from workbench.report.words import count
from workbench_widgets import findings, scope
from workbench_widgets.formatting import times
from workbench_widgets.seam.cells import Drawing, Heading, HeatCell
from workbench_widgets.seam.layer_view import LayerAction, LayerRow, LayersView
from workbench_widgets.store import State

#: The headings around those of heat.
HEADINGS = (
    ("layer", "Layer"), ("shape", "Kind and shape"), ("recipe", "What the recipe does"), ("error", "Weight error"),
)  # fmt: skip
NOTE = (
    "Shares are of the original; beneath them, what the recipe makes of the layer. The weight error is "
    "‖W − W′‖ ÷ ‖W‖, where it is known before anything runs."
)

NOTHING = LayersView(
    columns=[], rows=[], asks=[], chart=None, cost="", costs=[], scope="", chosen=0, summary="", note="",
    empty="The layers appear when the model is loaded.",
)  # fmt: skip


def layers(state: State) -> LayersView:
    """The chart of costs by layer, and one row a layer."""
    if state.plan is None:
        return NOTHING
    chosen = scope.chosen(state)
    found = state.plan.pairs
    plan = rows_by_layer(state.plan.rows, [pair.name for pair in found])
    found_out = findings.columns(state, found)
    return {
        "columns": _columns(found_out),
        "rows": _rows(found, plan, chosen, found_out),
        "asks": findings.asks(state),
        "chart": _chart(state.cost, found, chosen),
        "cost": state.cost,
        "costs": [{"value": name, "label": COLUMNS[name].label} for name in COSTS],
        "scope": _scope(state, len(chosen)),
        "chosen": len(chosen),
        "summary": _summary(plan),
        "note": " ".join([NOTE, *(one.note for one in found_out)]),
        "empty": "",
    }


def _columns(found_out: Sequence[findings.Column]) -> list[Heading]:
    """The headings; those of heat are the costs, and what was measured of the layers."""
    heat = [(name, COLUMNS[name].label, "") for name in COSTS] + [(one.key, one.label, one.unit) for one in found_out]
    before, after = HEADINGS[:2], HEADINGS[2:]
    return [
        *(Heading(key=key, label=label, numeric=False, heat=False) for key, label in before),
        *(Heading(key=key, label=label, unit=unit, numeric=True, heat=True) for key, label, unit in heat),
        *(Heading(key=key, label=label, numeric=key == "error", heat=False) for key, label in after),
    ]


def _rows(
    found: Sequence[Pair], plan: dict[str, list[Row]], chosen: frozenset[str], found_out: Sequence[findings.Column]
) -> list[LayerRow]:
    totals = {name: max(1, sum(pair.cost(name)[0] for pair in found)) for name in COSTS}
    most = {name: max([1, *(pair.cost(name)[0] for pair in found)]) for name in COSTS}
    return [
        {
            "id": pair.name,
            "module": pair.before.module if pair.before else "",
            "main": bool(max(pair.cost("macs"))),
            "kind": pair.kind.replace("_", " "),
            "shape": layer_shape(pair.before or pair.after[0]),
            "cells": [
                *(_share(pair, name, totals[name], most[name]) for name in COSTS),
                *(one.cells.get(pair.name, findings.NONE) for one in found_out),
            ],
            "actions": _actions(plan.get(pair.name, []), pair.name),
            "error": _error(plan.get(pair.name, [])),
            "chosen": pair.before is not None and pair.before.module in chosen,
        }
        for pair in found
    ]


def _share(pair: Pair, name: str, total: int, most: int) -> HeatCell:
    before, after = pair.cost(name)
    change, trend = times(before, after) if before else (f"new: {COLUMNS[name].text(after)}", "")
    return {
        "value": before, "text": f"{100 * before / total:.1f} %" if before else "–", "heat": round(before / most, 3),
        "sub": "" if before == after else change, "trend": trend, "title": f"{COLUMNS[name].text(before)}",
    }  # fmt: skip


def _actions(rows: list[Row], layer: str) -> list[LayerAction]:
    """What each step does to a layer; parts of it of which the same is said are named once."""
    parts: dict[tuple[str, str, bool], list[str]] = {}
    for row in rows:
        part = row.layer.removeprefix(layer).removeprefix(".")
        parts.setdefault((row.step, row.action, row.applies), []).append(part)
    return [
        {"step": step, "part": names[0] if len(names) == 1 else "", "text": text, "applies": applies}
        for (step, text, applies), names in parts.items()
    ]


def _error(rows: list[Row]) -> HeatCell:
    known = weight_error(rows)
    if known is None:
        return {"value": None, "text": "", "heat": 0}
    return {"value": known, "text": f"{100 * known:.1f} %", "heat": round(min(1.0, known), 3)}


def _chart(cost: str, found: Sequence[Pair], chosen: frozenset[str]) -> Drawing:
    frame = to_frame(pair for pair in found if any(pair.cost(cost)))
    frame["chosen"] = frame["module"].isin(chosen)
    rows = charts.cost_rows(frame, cost)
    return {"spec": _spec(cost), "rows": rows, "summary": charts.cost_summary(frame, cost)}


@lru_cache(maxsize=8)
def _spec(cost: str) -> dict[str, Any]:
    """The chart without rows: the page patches them into a view that is drawn."""
    found: dict[str, Any] = charts.cost_by_layer(to_frame(()), cost).to_dict()
    return found


def _scope(state: State, number: int) -> str:
    """Which layers the step being edited is for, as a sentence."""
    step = scope.scoped(state)
    if step is None:
        if number:
            return f"{count(number, 'layer is', 'layers are')} chosen, for the next step that you add."
        return "Choose layers here or in the chart: the next step that you add is for them alone."
    if number:
        return f"{step.brief} is for {count(number, 'layer', 'layers')} alone."
    return f"{step.brief} is for every layer that it can treat. Choose layers to limit it to them."


def _summary(plan: dict[str, list[Row]]) -> str:
    if not plan:
        return ""
    touched = sum(any(row.applies for row in about) for about in plan.values())
    left = len(plan) - touched
    return f"{count(touched, 'layer changes', 'layers change')}, {left} left alone"
