"""The guidelines of ShuffleNetV2 on one machine: `wb.measure.guidelines()` as a chart."""

from __future__ import annotations

import altair as alt
import pandas as pd

from workbench.charts.marks import LINE
from workbench.errors import unknown
from workbench.interface.arguments import check_kinds

_NEEDED = ("guideline", "case", "macs", "memory_access_bytes", "slowdown", "slowdown_low", "slowdown_high", "holds")
_STATES = {"Surely slower": "#d55e00", "Not surely slower": "#0072b2"}
_ROW = 24


@check_kinds
def guidelines(frame: pd.DataFrame) -> alt.FacetChart:
    """A mark a case: its time relative to the first of its guideline, with the 95 % interval; a line stands at 1.

    Colour and shape say whether the interval lies above 1. Raises: `UnknownName` for a frame that lacks a column of
    `wb.measure.guidelines()`.
    """
    for name in _NEEDED:
        if name not in frame:
            raise unknown("column", name, map(str, frame.columns))
    rows = frame[list(_NEEDED)].assign(state=[list(_STATES)[0 if holds else 1] for holds in frame["holds"]])
    base = alt.Chart(rows).encode(y=alt.Y("case:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)))
    ratio = alt.X("slowdown:Q", title="Time relative to the first case, equal MACs", scale=alt.Scale(zero=False))
    legend = alt.Legend(orient="top", title=None, labelLimit=260)
    marks = base.mark_point(size=90, filled=True, opacity=1).encode(
        x=ratio,
        color=alt.Color("state:N", scale=alt.Scale(domain=[*_STATES], range=[*_STATES.values()]), legend=legend),
        shape=alt.Shape("state:N", scale=alt.Scale(domain=[*_STATES], range=["diamond", "circle"]), legend=legend),
        tooltip=[
            alt.Tooltip("case:N", title="Case"),
            alt.Tooltip("slowdown:Q", title="Times as long", format=".3f"),
            alt.Tooltip("slowdown_low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("slowdown_high:Q", title="95 % to", format=".3f"),
            alt.Tooltip("macs:Q", title="MACs", format=",.4~g"),
            alt.Tooltip("memory_access_bytes:Q", title="Memory access (bytes)", format=",.4~g"),
        ],
    )
    interval = base.mark_rule().encode(x=alt.X("slowdown_low:Q"), x2="slowdown_high:Q")
    one = base.mark_rule(color=LINE, strokeDash=[4, 3]).encode(x=alt.datum(1.0), y=alt.value(0), y2=alt.value("height"))
    layered = alt.layer(one, interval, marks).properties(width=320, height=alt.Step(_ROW))
    row = alt.Row("guideline:N", title=None, sort=None, header=_HEADER)
    found: alt.FacetChart = layered.facet(row=row, description=_words(frame)).resolve_scale(y="independent")
    return found


_HEADER = alt.Header(labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelFontWeight="bold")


def _words(frame: pd.DataFrame) -> str:
    """The chart in words, for a reader who cannot see it."""
    last = frame.groupby("guideline", sort=False).tail(1)
    return "Time at equal MACs, relative to the first case. " + " ".join(
        f"{row.guideline}: {row.case} takes {row.slowdown:.2f} times as long ({row.slowdown_low:.2f} to "
        f"{row.slowdown_high:.2f})." for row in last.itertuples()
    )  # fmt: skip
