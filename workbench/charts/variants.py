"""The trade-off between two figures of variants, and predicted against measured speed-up."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from workbench.charts.columns import check_columns, column, drawable, judged_by, lower
from workbench.charts.marks import (
    FRONT,
    LINE,
    ORIGINAL,
    Groups,
    check_frame,
    data,
    flag,
    legend,
    numbers,
    on_front,
    roles,
    texts,
)
from workbench.charts.predicted import MEASURED, predicted_layers, predicted_points
from workbench.errors import unknown
from workbench.interface.arguments import check_kinds
from workbench.measure.judgement import AS_PREDICTED, FASTER, SLOWER, judge

_AGREEMENT: Groups = {
    ORIGINAL: ("#d55e00", "square"),
    FASTER: ("#009e73", "triangle-up"),
    AS_PREDICTED: ("#0072b2", "circle"),
    SLOWER: ("#cc79a7", "triangle-down"),
}
_HEIGHT = 320
_NAMED = 10  # variants of the front that a sentence names


@check_kinds
def tradeoff(
    frame: pd.DataFrame,
    x: str = "speedup",
    y: str = "",
    *,
    size: str = "params",
    log: Sequence[str] = (),
    predicted: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """One mark a variant: `y` against `x` with 95 % intervals, area by `size`, and the Pareto front.

    `predicted` adds, hollow, what is not measured: a search's front or a recipe, see `predicted_points`.

    `y` is what variants are judged by, unless another is named.
    `log` names the axes ("x", "y") with a logarithmic scale. Where the frame has a column `feasible`, what is
    not stays in the chart, pale; where it has `elsewhere`, what was measured elsewhere is hollow. Neither
    competes for the front, see `competing`.

    Rows without a measurement of `x` or `y` are left out. The parameter `selected` holds the `id` of the
    variant to stand out.

    Raises: `UnknownName` for a column that is no figure, or that a frame with rows lacks.
    """
    y = y or judged_by(frame)
    rows = pd.concat([points(frame, x, y, size), predicted_points(frame, predicted, x, y)], ignore_index=True)
    across, up = _axes(x, y, [_scale(axis in log) for axis in "xy"])
    everything = alt.Chart(data(rows))
    base = everything.transform_filter(f"datum.kind == '{MEASURED}'")
    line = (
        base.transform_filter("datum.on_front")
        .mark_line(color=FRONT["Pareto front"][0], strokeDash=[5, 4], strokeWidth=1.5, opacity=0.8)
        .encode(x=across, y=up, order=alt.Order("x:Q"))
    )
    return _stack(base, [line, *predicted_layers(everything, (across, up))], (across, up), FRONT, size)


@check_kinds
def speedup(frame: pd.DataFrame, *, size: str = "params") -> alt.LayerChart:
    """Measured against predicted speed-up with the measurement's interval; on the line they agree.

    Raises: `UnknownName` for a frame that has rows but lacks one of the two columns.
    """
    rows = speedup_points(frame, size)
    across, up = _axes("predicted_speedup", "speedup", [alt.Scale(domainMin=0, nice=True)] * 2)
    base = alt.Chart(data(rows))
    # From the origin to the largest value of either axis: drawn from the data, so that it moves with it.
    identity = (
        base.transform_aggregate(x_most="max(x)", y_most="max(y_high)")
        .transform_calculate(most="max(datum.x_most, datum.y_most, 1) * 1.05", zero="0")
        .mark_rule(strokeDash=[2, 3], strokeWidth=1.5, color=LINE)
        .encode(x=alt.X("zero:Q"), y=alt.Y("zero:Q"), x2="most:Q", y2="most:Q")
    )
    return _stack(base, [identity], (across, up), _AGREEMENT, size)


@check_kinds
def summary(frame: pd.DataFrame, x: str, y: str) -> str:
    """A chart of `y` against `x` in words, for a reader who cannot see it."""
    rows = points(frame, x, y)
    names = f"{column(y).label} against {lower(column(x).label)}"
    if rows.empty:
        return f"{names}: nothing measured yet."
    count = "one variant" if len(rows) == 1 else f"{len(rows)} variants"
    text = f"{names} of {count}: {_range(rows, 'y', y)} and {_range(rows, 'x', x)}."
    if x != "predicted_speedup" and len(rows) > 1:
        best = list(rows[rows["on_front"]].sort_values("x")["name"])
        more = f" and {len(best) - _NAMED} more" if len(best) > _NAMED else ""
        text += f" On the Pareto front: {', '.join(best[:_NAMED])}{more}."
    missing = len(frame) - len(rows)
    if missing:
        text += f" {missing} without a measurement {'is' if missing == 1 else 'are'} not drawn."
    return text


def _range(rows: pd.DataFrame, axis: str, name: str) -> str:
    shown = column(name)
    low, high = (end * shown.scale for end in (rows[axis].min(), rows[axis].max()))
    values = shown.text(high) if low == high else f"{shown.number(low)} to {shown.text(high)}"
    return f"{lower(shown.label)} {values}"


@check_kinds
def points(frame: pd.DataFrame, x: str, y: str, size: str = "params") -> pd.DataFrame:
    """The drawable rows under names that do not depend on the axes, in the units of the axes. Raises as `tradeoff`."""
    check_frame(frame)
    check_columns(frame, x, y, size)
    for name in (x, y):
        if len(frame) and name not in frame:
            raise unknown("column", name, drawable(frame))
    table = frame.reset_index(drop=True)
    points = pd.DataFrame({"id": texts(table, "id"), "name": texts(table, "name")}, index=table.index)
    for axis, name in (("x", x), ("y", y)):
        value = numbers(table, name)
        for part in ("", "_low", "_high"):
            end = numbers(table, name + part).fillna(value)
            points[axis + part] = end / column(name).scale
    area = numbers(table, size) / column(size).scale
    points["size"] = area.fillna(area.median()).fillna(1.0)
    points["feasible"] = flag(table, "feasible", True)
    points["elsewhere"] = flag(table, "elsewhere", False)
    known = np.isfinite(points["x"]) & np.isfinite(points["y"])
    points = pd.DataFrame(points[known])
    kept = table.loc[points.index]
    points["role"] = roles(kept, x, y)
    points["on_front"] = on_front(kept, x, y)
    points["kind"] = MEASURED
    return points


@check_kinds
def speedup_points(frame: pd.DataFrame, size: str = "params") -> pd.DataFrame:
    """The drawable rows of `speedup`: the role says on which side of the line a variant stands."""
    rows = points(frame, "predicted_speedup", "speedup", size)
    judged = [judge(*row) for row in zip(rows["y_low"], rows["y_high"], rows["x"], strict=True)]
    rows["role"] = rows["role"].where(rows["role"] == ORIGINAL, judged)
    return rows


def _axes(x: str, y: str, scales: list[alt.Scale]) -> tuple[alt.X, alt.Y]:
    across = alt.X("x:Q", title=column(x).title, scale=scales[0], axis=alt.Axis(tickCount=7))
    return across, alt.Y("y:Q", title=column(y).title, scale=scales[1], axis=alt.Axis(tickCount=6))


def _scale(logarithmic: bool) -> alt.Scale:
    return (
        alt.Scale(type="log", nice=False, padding=24) if logarithmic else alt.Scale(zero=False, nice=True, padding=24)
    )


def _stack(
    base: alt.Chart, below: Sequence[alt.Chart], axes: tuple[alt.X, alt.Y], groups: Groups, size: str
) -> alt.LayerChart:
    """The layers that both charts share, over those that are special to each."""
    across, up = axes
    colours, shapes = ([pair[i] for pair in groups.values()] for i in (0, 1))
    above = legend()
    colour = alt.Color("role:N", title=None, scale=alt.Scale(domain=list(groups), range=colours), legend=above)
    shape = alt.Shape("role:N", title=None, scale=alt.Scale(domain=list(groups), range=shapes), legend=above)
    pale = alt.condition("datum.feasible", alt.value(0.95), alt.value(0.22))
    hollow = alt.condition("datum.elsewhere", alt.value(0.12), alt.value(1.0))
    fill = alt.Fill("role:N", title=None, scale=colour["scale"], legend=above)
    stroke = alt.Stroke("role:N", title=None, scale=colour["scale"], legend=None)
    bars = base.mark_rule(strokeWidth=1.5)
    chosen = base.transform_filter("datum.id == selected")
    ring = chosen.mark_point(shape="circle", size=900, strokeWidth=2, filled=False, color=groups[ORIGINAL][0])
    area = alt.Size("size:Q", scale=alt.Scale(range=[70, 420], zero=True), legend=None)
    marks = base.mark_point(strokeWidth=1.6, cursor="pointer").properties(name="points")
    look = {"fill": fill, "stroke": stroke, "fillOpacity": hollow, "opacity": pale, "shape": shape, "size": area}
    layers = [
        *below,
        bars.encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=up, color=colour, opacity=pale),
        bars.encode(x=across, y=alt.Y("y_low:Q"), y2="y_high:Q", color=colour, opacity=pale),
        ring.encode(x=across, y=up),
        marks.encode(x=across, y=up, tooltip=_tooltip(across, up, size), **look),
        _names(base).encode(x=across, y=up, text="name:N"),
    ]
    chart = alt.LayerChart(layer=layers, width="container", height=_HEIGHT)
    return chart.add_params(alt.param(name="selected", value=""))


def _names(base: alt.Chart) -> alt.Chart:
    """The names of the chosen variant and of the original: above the higher mark and below the other, never across."""
    chosen, original = "datum.id == selected", f"datum.role == '{ORIGINAL}'"
    named = (
        base.transform_calculate(y_chosen=f"{chosen} ? datum.y : null", y_original=f"{original} ? datum.y : null")
        .transform_joinaggregate(chosen_at="max(y_chosen)", original_at="max(y_original)")
        .transform_filter(f"{chosen} || {original}")
        .transform_calculate(other=f"{chosen} ? datum.original_at : datum.chosen_at")
    )
    higher = f"!isValid(datum.other) || datum.y > datum.other || (datum.y == datum.other && {chosen})"
    share = "scale('x', datum.x) / width"
    text: alt.Chart = named.mark_text(
        dy=alt.ExprRef(f"{higher} ? -20 : 24"),
        align=alt.ExprRef(f"{share} > 0.8 ? 'right' : {share} < 0.2 ? 'left' : 'center'"),
        fontWeight=600,
        limit=260,
    )
    return text


def _tooltip(across: alt.X, up: alt.Y, size: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("name:N", title="Variant"),
        alt.Tooltip("y:Q", title=up["title"], format=",.4~g"),
        alt.Tooltip("x:Q", title=across["title"], format=",.4~g"),
        alt.Tooltip("size:Q", title=column(size).title, format=",.4~g"),
    ]
