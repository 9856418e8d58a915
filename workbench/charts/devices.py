"""One network across devices: `wb.cost(model).devices()` as a chart."""

from __future__ import annotations

import altair as alt
import pandas as pd

from workbench.errors import unknown
from workbench.interface.arguments import check_kinds

_NEEDED = ("device", "title", "latency_ms", "memory_bound_share", "fits", "why", "energy_uj")
_FITS = {"Fits": "#0072b2", "Does not fit": "#d55e00"}
_ROW = 34


@check_kinds
def devices(frame: pd.DataFrame) -> alt.LayerChart:
    """A mark a device: latency on a logarithmic axis, fastest first; colour and shape say whether the network fits.

    A device that does not compute in the network's precision has no latency and is left out.
    Raises: `UnknownName` for a frame that lacks a column of `Cost.devices()`.
    """
    for name in _NEEDED:
        if name not in frame:
            raise unknown("column", name, frame.columns)
    rows = pd.DataFrame(frame[list(_NEEDED)]).dropna(subset=["latency_ms"])
    rows["state"] = rows["fits"].map({True: "Fits", False: "Does not fit"})
    base = alt.Chart(rows).encode(
        y=alt.Y("title:N", title=None, sort=alt.EncodingSortField("latency_ms", order="ascending")),
        x=alt.X("latency_ms:Q", title="Latency by the roofline (ms, batch 1)", scale=alt.Scale(type="log")),
    )
    scale = alt.Scale(domain=list(_FITS), range=list(_FITS.values()))
    legend = alt.Legend(orient="top", title=None)
    marks = base.mark_point(size=130, filled=True, opacity=1).encode(
        color=alt.Color("state:N", scale=scale, legend=legend),
        shape=alt.Shape("state:N", scale=alt.Scale(domain=list(_FITS), range=["circle", "cross"]), legend=legend),
        tooltip=[
            alt.Tooltip("title:N", title="Device"),
            alt.Tooltip("latency_ms:Q", title="Latency (ms)", format=",.3~g"),
            alt.Tooltip("memory_bound_share:Q", title="Time in layers bound by memory", format=".0%"),
            alt.Tooltip("energy_uj:Q", title="Energy, estimated (µJ)", format=",.3~g"),
            alt.Tooltip("why:N", title="Why not"),
        ],
    )
    text = base.mark_text(align="left", dx=12).encode(text=alt.Text("latency_ms:Q", format=",.3~g"))
    return alt.LayerChart(layer=[marks, text], width="container", height=alt.Step(_ROW))
