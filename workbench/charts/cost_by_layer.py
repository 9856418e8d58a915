"""The cost of a network layer by layer, before and after a recipe."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from workbench.charts.columns import column, lower
from workbench.charts.rows import records
from workbench.errors import unknown
from workbench.interface.arguments import check_kinds

#: The name of the rows in a chart's specification, so that a view already drawn can be given other rows.
LAYERS = "layers"
#: The costs that add up over layers.
COSTS = ("macs", "params", "memory_access_bytes")
_BEFORE, _AFTER, _CHOSEN = "#9aa3ad", "#0072b2", "#d55e00"
_HEIGHT = 190


@check_kinds
def cost_by_layer(frame: pd.DataFrame, cost: str = "macs") -> alt.LayerChart:
    """One bar a layer in execution order: wide and grey before the recipe, narrow and blue after it.

    `frame` has the columns `layer`, `kind`, the cost and the cost with `_after`; `chosen` (optional) marks the
    layers to stand out. Raises: `UnknownName` for a column that the frame lacks.
    """
    shown = column(cost)
    up = alt.Axis(tickCount=5)
    place = alt.X(
        "index:O",
        title="Layer, in order of execution",
        axis=alt.Axis(labels=False, ticks=False),
        scale=alt.Scale(padding=0.12),
    )
    tooltip = [
        alt.Tooltip("layer:N", title="Layer"), alt.Tooltip("kind:N", title="Kind"),
        alt.Tooltip("before:Q", title=f"Original, {shown.unit}", format=",.4~g"),
        alt.Tooltip("after:Q", title=f"Recipe, {shown.unit}", format=",.4~g"),
    ]  # fmt: skip
    base = alt.Chart(alt.InlineData(values=cost_rows(frame, cost), name=LAYERS)).encode(x=place, tooltip=tooltip)
    state = alt.Color(
        "state:N", title=None, scale=alt.Scale(domain=["Original", "Recipe"], range=[_BEFORE, _AFTER]),
        legend=alt.Legend(orient="top", direction="horizontal", symbolType="square"),
    )  # fmt: skip
    wide = base.transform_calculate(state="'Original'").mark_bar(cursor="pointer", opacity=0.55)
    slim = base.transform_calculate(state="'Recipe'").mark_bar(cursor="pointer", width=alt.RelativeBandSize(0.5))
    under = (
        base.transform_filter("datum.chosen")
        .transform_calculate(zero="0")
        .mark_tick(color=_CHOSEN, thickness=4, orient="horizontal")
    )
    layers = [
        wide.encode(y=alt.Y("before:Q", title=shown.title, axis=up), color=state).properties(name="before"),
        slim.encode(y=alt.Y("after:Q"), color=state).properties(name="after"),
        under.encode(y=alt.Y("zero:Q")).properties(name="chosen"),
    ]
    return alt.LayerChart(layer=layers, width="container", height=_HEIGHT)


@check_kinds
def cost_summary(frame: pd.DataFrame, cost: str) -> str:
    """The chart in words, for a reader who cannot see it."""
    name = column(cost).label
    if frame.empty:
        return f"{name} by layer: no network yet."
    _check(frame, cost)
    total, after = frame[cost].sum(), frame[f"{cost}_after"].sum()
    most = frame.nlargest(3, cost)
    parts = ", ".join(f"{row.layer} {getattr(row, cost) / max(total, 1):.0%}" for row in most.itertuples())
    text = f"{name} of {len(frame)} layers, before and after the recipe. Most are in {parts}."
    if after != total:
        text += f" The recipe leaves {after / max(total, 1):.0%} of the {lower(name)}."
    return text


@check_kinds
def cost_rows(frame: pd.DataFrame, cost: str) -> list[dict[str, Any]]:
    """The rows of the chart, for a view that is already drawn."""
    if frame.empty:
        return []
    _check(frame, cost)
    scale = column(cost).scale
    rows = pd.DataFrame({
        "index": range(len(frame)),
        "id": frame["layer"], "layer": frame["layer"], "kind": frame["kind"],
        "before": frame[cost] / scale, "after": frame[f"{cost}_after"] / scale,
        "chosen": frame.get("chosen", False),
    })  # fmt: skip
    return records(rows)


def _check(frame: pd.DataFrame, cost: str) -> None:
    """Raise `UnknownName` for a frame without a column that the chart needs."""
    for name in ("layer", "kind", cost, f"{cost}_after"):
        if name not in frame:
            raise unknown("column", name, map(str, frame.columns))
