"""Throughput over batch sizes, a line a thread count: `study.sweep(variant)` as a chart."""

from __future__ import annotations

import altair as alt
import pandas as pd

from workbench.errors import BadValue, unknown
from workbench.interface.arguments import check_kinds

_NEEDED = (
    "batch", "threads", "latency_ms", "latency_ms_low", "latency_ms_high", "throughput", "throughput_low",
    "throughput_high", "allowed", "best",
)  # fmt: skip
_HEIGHT = 280
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STATES = {"Allowed": "circle", "Above the limit": "cross", "Best": "diamond"}


@check_kinds
def sweep(frame: pd.DataFrame) -> alt.LayerChart:
    """Inputs a second against the batch size with intervals; the best point is a large diamond, those above the limit
    on latency are crosses.

    Raises: `UnknownName` for a frame that lacks a column of `study.sweep`, `BadValue` for one without rows.
    """
    for name in _NEEDED:
        if name not in frame:
            raise unknown("column", name, frame.columns)
    if frame.empty:
        raise BadValue("The frame holds no points. Give what study.sweep returned.")
    rows = pd.DataFrame(frame[list(_NEEDED)])
    rows["state"] = [_state(*one) for one in zip(rows["allowed"], rows["best"], strict=True)]
    rows["series"] = [f"{count} thread{'s' * (count > 1)}" for count in rows["threads"]]
    return _drawn(rows)


def sweep_summary(frame: pd.DataFrame) -> str:
    """The chart in a sentence, for whoever does not see it."""
    best = frame[frame["best"]]
    limit = frame.attrs.get("limit_ms")
    under = "" if limit is None else f" of those that surely take at most {limit:g} ms"
    if best.empty:
        return f"{len(frame)} points, and none{under}."
    one = best.iloc[0]
    many = "threads" if one["threads"] > 1 else "thread"
    return (
        f"{len(frame)} points. The highest throughput{under} is {one['throughput']:,.4g} inputs a second "
        f"({one['throughput_low']:,.4g} to {one['throughput_high']:,.4g}), at batch {one['batch']:g} on "
        f"{one['threads']:g} {many}: {one['latency_ms']:.3g} ms a batch."
    )


def _state(allowed: bool, best: bool) -> str:
    return "Best" if best else "Allowed" if allowed else "Above the limit"


def _drawn(rows: pd.DataFrame) -> alt.LayerChart:
    series = sorted(set(rows["series"]), key=lambda one: int(one.split()[0]))
    colours = alt.Scale(domain=series, range=[_COLOURS[index % len(_COLOURS)] for index in range(len(series))])
    shapes = alt.Scale(domain=list(_STATES), range=list(_STATES.values()))
    base = alt.Chart(rows).encode(
        x=alt.X("batch:Q", title="Batch size", scale=alt.Scale(type="log", base=2), axis=alt.Axis(format=",d")),
        color=alt.Color("series:N", scale=colours, legend=alt.Legend(orient="top", title=None)),
    )
    y = alt.Y("throughput:Q", title="Inputs a second", scale=alt.Scale(zero=True))
    bars = base.mark_rule().encode(y=alt.Y("throughput_low:Q", title="Inputs a second"), y2="throughput_high:Q")
    marks = base.mark_point(filled=True, opacity=1).encode(
        y=y,
        shape=alt.Shape("state:N", scale=shapes, legend=alt.Legend(orient="top", title=None)),
        size=alt.condition(alt.datum.state == "Best", alt.value(260), alt.value(70)),
        tooltip=[
            alt.Tooltip("batch:Q", title="Batch"),
            alt.Tooltip("threads:Q", title="Threads"),
            alt.Tooltip("throughput:Q", title="Inputs a second", format=",.4~g"),
            alt.Tooltip("latency_ms:Q", title="Latency of a batch (ms)", format=",.3~g"),
            alt.Tooltip("latency_ms_high:Q", title="Its upper end (ms)", format=",.3~g"),
            alt.Tooltip("state:N", title="Under the limit"),
        ],
    )
    line = base.mark_line(opacity=0.6).encode(y=y)
    return alt.LayerChart(layer=[line, bars, marks], width="container", height=_HEIGHT)
