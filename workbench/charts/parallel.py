"""Parallel axes: every figure of every variant at once."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from workbench.charts.columns import check_columns, column, judged_by, lower
from workbench.charts.marks import FRONT, LINE, ORIGINAL, check_frame, data, flag, legend, numbers, roles, texts
from workbench.frames.pareto import more_is_better
from workbench.interface.arguments import check_kinds

#: The axes that are drawn where none are asked for.
PARALLEL = ("accuracy", "latency_ms", "speedup", "macs", "params", "memory_access_bytes", "file_bytes", "energy_uj")
_STEP = 46  # pixels from one axis to the next
_COLUMNS = ("kind", "label", "axis", "id", "name", "role", "feasible", "elsewhere", "place", "text", "worst", "best")


@check_kinds
def parallel(frame: pd.DataFrame, columns: Sequence[str] = (), *, x: str = "speedup", y: str = "") -> alt.LayerChart:
    """One line a variant over one axis a column, lying beneath one another; the better a figure, the further right.

    An axis ends at the worst and the best figure that there is. Groups, pale and hollow marks and the parameter
    `selected` are those of `tradeoff`; the Pareto front is that of `x` and `y`. `columns` are `y` and
    those of `PARALLEL` that hold a figure, unless others are named. A figure that is missing leaves its axis out of
    the line.

    Raises: `UnknownName` for a column that has no description.
    """
    base = alt.Chart(data(parallel_points(frame, columns, x=x, y=y)))
    words = alt.Axis(ticks=False, domain=False, labelExpr="split(datum.label, ' ')")
    up = alt.Y("label:N", sort=None, title=None, axis=words)
    across = alt.X("place:Q", title=None, scale=alt.Scale(domain=[0, 1], padding=14, nice=False), axis=None)
    axis, values = base.transform_filter("datum.kind == 'axis'"), base.transform_filter("datum.kind == 'value'")
    left = axis.transform_calculate(at="0").mark_text(align="left", dy=13, fontSize=10.5, opacity=0.8)
    right = axis.transform_calculate(at="1").mark_text(align="right", dy=13, fontSize=10.5, opacity=0.8)
    at = alt.X("at:Q", axis=None)
    ends = [left.encode(x=at, y=up, text="worst:N"), right.encode(x=at, y=up, text="best:N")]
    rule = axis.transform_calculate(zero="0", one="1").mark_rule(color=LINE, opacity=0.7)
    rules = rule.encode(x=alt.X("zero:Q", axis=None), x2="one:Q", y=up)
    chart = alt.LayerChart(layer=[rules, *ends, *_lines(values, across, up)], width="container", height=alt.Step(_STEP))
    return chart.add_params(alt.param(name="selected", value=""))


def _lines(values: alt.Chart, across: alt.X, up: alt.Y) -> list[alt.Chart]:
    """The variants: their lines and marks, and the figures of the one that stands out."""
    colours, shapes = ([pair[i] for pair in FRONT.values()] for i in (0, 1))
    above = legend(90)
    domain = alt.Scale(domain=list(FRONT), range=colours)
    shape = alt.Shape("role:N", title=None, scale=alt.Scale(domain=list(FRONT), range=shapes), legend=above)
    pale = alt.condition("datum.feasible", alt.value(0.75), alt.value(0.18))
    hollow = alt.condition("datum.elsewhere", alt.value(0.12), alt.value(1.0))
    stroke = alt.Stroke("role:N", title=None, scale=domain, legend=above)
    fill = alt.Fill("role:N", title=None, scale=domain, legend=above)
    tooltip = [alt.Tooltip("name:N", title="Variant"), alt.Tooltip("text:N", title="Figure")]
    chosen = values.transform_filter("datum.id == selected")
    line, glow = values.mark_line(cursor="pointer", strokeWidth=1.6), chosen.mark_line(strokeWidth=7, opacity=0.4)
    along = {"x": across, "y": up, "order": alt.Order("axis:Q")}  # of the axes, not of the figures
    marks = values.mark_point(size=75, strokeWidth=1.4, cursor="pointer").properties(name="points")
    side = alt.ExprRef("datum.place > 0.8 ? 'right' : datum.place < 0.2 ? 'left' : 'center'")
    look = {"fill": fill, "stroke": stroke, "fillOpacity": hollow, "opacity": pale, "shape": shape}
    return [
        glow.encode(stroke=alt.value(FRONT[ORIGINAL][0]), **along),
        line.encode(detail="id:N", stroke=stroke, opacity=pale, **along),
        marks.encode(x=across, y=up, tooltip=tooltip, **look),
        chosen.mark_text(dy=-13, fontWeight=600, fontSize=11.5, align=side).encode(x=across, y=up, text="text:N"),
    ]


@check_kinds
def parallel_columns(frame: pd.DataFrame, columns: Sequence[str] = (), y: str = "") -> list[str]:
    """Those of `columns`, or `y` and those of `PARALLEL`, that hold a figure. Raises: `UnknownName` as `parallel`."""
    check_columns(frame, *columns)
    wanted = columns or dict.fromkeys((y or judged_by(frame), *PARALLEL))
    return [name for name in wanted if name in frame and frame[name].notna().any()]


@check_kinds
def parallel_points(
    frame: pd.DataFrame, columns: Sequence[str] = (), *, x: str = "speedup", y: str = ""
) -> pd.DataFrame:
    """The rows of `parallel`: of kind `axis`, one a column with the texts at its ends; of kind `value`, the marks."""
    check_frame(frame)
    table = frame.reset_index(drop=True)
    y = y or judged_by(table)
    names = parallel_columns(table, columns, y)
    if not names:
        return pd.DataFrame(columns=list(_COLUMNS))
    common = pd.DataFrame({
        "kind": "value", "id": texts(table, "id"), "name": texts(table, "name"), "role": roles(table, x, y),
        "feasible": flag(table, "feasible", True), "elsewhere": flag(table, "elsewhere", False),
    })  # fmt: skip
    axes = [_axis(table, name, place) for place, name in enumerate(names)]
    values = [_values(common, table, name).assign(axis=place) for place, name in enumerate(names)]
    return pd.concat([pd.DataFrame(axes), *values], ignore_index=True).reindex(columns=list(_COLUMNS))


@check_kinds
def parallel_summary(frame: pd.DataFrame, columns: Sequence[str] = (), y: str = "") -> str:
    """The chart in words, for a reader who cannot see it."""
    names = parallel_columns(frame, columns, y)
    if not names:
        return "All figures: nothing measured yet."
    count = "one variant" if len(frame) == 1 else f"{len(frame)} variants"
    best = []
    for name in names:
        values = numbers(frame, name)
        row = int(values.argmax() if more_is_better(frame, name) else values.argmin())
        shown, owner = column(name), frame["name"].iloc[row]
        best.append(f"{lower(shown.label)} {shown.text(values.iloc[row])} ({owner})")
    return f"{len(names)} figures of {count}. The best of each: {', '.join(best)}."


def _ends(frame: pd.DataFrame, name: str) -> tuple[float, float]:
    """The worst and the best figure of a column."""
    values = numbers(frame, name)
    low, high = float(values.min()), float(values.max())
    return (low, high) if more_is_better(frame, name) else (high, low)


def _axis(frame: pd.DataFrame, name: str, place: int) -> dict[str, object]:
    shown, (worst, best) = column(name), _ends(frame, name)
    return {"kind": "axis", "label": shown.label, "axis": place, "worst": shown.text(worst), "best": shown.text(best)}


def _values(common: pd.DataFrame, frame: pd.DataFrame, name: str) -> pd.DataFrame:
    worst, best = _ends(frame, name)
    values = numbers(frame, name)
    known = values.notna()
    place = (values - worst) / (best - worst) if best != worst else values * 0 + 1
    rows = common.assign(label=column(name).label, place=place, text=values.map(column(name).text))
    return rows[known]
