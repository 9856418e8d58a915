"""What a variant costs in every class: the paired change of each, with its interval."""

from __future__ import annotations

import altair as alt
import pandas as pd

from workbench.charts.marks import LINE, data, legend
from workbench.errors import unknown
from workbench.interface.arguments import check_kinds

_NEEDED = ("name", "n", "change", "low", "high")
_WORSE, _UNSURE, _BETTER = "Worse", "Not distinguishable", "Better"
_LOOK = {_WORSE: ("#d55e00", "triangle-down"), _UNSURE: ("#767676", "circle"), _BETTER: ("#009e73", "triangle-up")}
_ROW = 24


@check_kinds
def by_class(frame: pd.DataFrame, title: str = "Change (points)") -> alt.LayerChart:
    """A row a class in the frame's order: its change and 95 % interval, beside a line where nothing changes.

    Columns: `name`, `n` inputs, `change`, `low` and `high`, where more is better.
    Raises: `UnknownName` for a frame that lacks one.
    """
    for name in _NEEDED:
        if name not in frame:
            raise unknown("column", name, map(str, frame.columns))
    rows = pd.DataFrame(frame[list(_NEEDED)])
    worse, better = rows["high"] < 0, rows["low"] > 0
    rows["state"] = [_WORSE if w else _BETTER if b else _UNSURE for w, b in zip(worse, better, strict=True)]
    colours, shapes = ([look[i] for look in _LOOK.values()] for i in (0, 1))
    colour = alt.Color("state:N", title=None, scale=alt.Scale(domain=list(_LOOK), range=colours), legend=legend(90))
    shape = alt.Shape("state:N", title=None, scale=alt.Scale(domain=list(_LOOK), range=shapes), legend=legend(90))
    bare = alt.Chart(data(rows))
    base = bare.encode(y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=160)))
    across = alt.X("change:Q", title=title, axis=alt.Axis(tickCount=7))
    zero = bare.transform_calculate(zero="0").mark_rule(color=LINE, strokeDash=[2, 3], strokeWidth=1.5)
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", color=colour)
    tooltip = [
        alt.Tooltip("name:N", title="Class"), alt.Tooltip("n:Q", title="Inputs", format=","),
        *(alt.Tooltip(f"{name}:Q", title=name.capitalize(), format="+.2f") for name in ("change", "low", "high")),
    ]  # fmt: skip
    marks = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=across, color=colour, shape=shape, tooltip=tooltip
    )
    layers = [zero.encode(x=alt.X("zero:Q")), bars, marks]
    return alt.LayerChart(layer=layers, width="container", height=alt.Step(_ROW))
