"""A picture of the variants beside the live screen in a notebook, for whoever reads it where no kernel runs."""

from __future__ import annotations

import base64
import io
import os
import uuid
from collections.abc import Sequence
from html import escape

import pandas as pd

from workbench import charts
from workbench.charts import column
from workbench_widgets import rows
from workbench_widgets.latest_only import Latest
from workbench_widgets.store import State

SHOWN = ("latency_ms", "speedup", "macs", "params", "file_bytes")
PLAIN = "The workbench's screen, which needs a running kernel. What it showed last stands above as a table."
WIDTH, HEIGHT = 640, 360


class Still:
    """Keeps one output of a notebook's cell up to date. The live screen's style hides it where that is shown."""

    def __init__(self) -> None:
        self._id = ""
        self._draw = Latest(self._show)

    def place(self) -> None:
        """Put the output where the cell shows its results; nothing where no notebook keeps them."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if self._id or get_ipython() is None or "WORKBENCH_VISITORS" in os.environ:  # the dashboard keeps nothing
            return
        self._id = uuid.uuid4().hex
        empty = {"text/html": "", "text/plain": ""}
        display(empty, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]

    def follow(self, state: State) -> None:
        """Draw this state, unless another one comes before there is time to."""
        if self._id:
            self._draw.ask(state)

    def _show(self, state: State) -> None:
        from IPython.display import update_display

        found = {"text/html": html(state), "text/plain": charts.summary(rows.everything(state), state.x, state.y)}
        update_display(found, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]


def html(state: State) -> str:
    """The variants as a chart, where vl-convert is installed, and as a table; "" while there is none."""
    frame = rows.everything(state)
    if frame.empty:
        return ""
    said = escape(charts.summary(frame, state.x, state.y))
    picture = _picture(frame, state, said)
    table = _table(frame, (*rows.qualities(state), *SHOWN))
    return f'<figure class="wb-still">{picture}{table}<figcaption>{said}</figcaption></figure>'


def _picture(frame: pd.DataFrame, state: State, said: str) -> str:
    try:
        import vl_convert  # noqa: F401  # an optional extra, which Altair draws with
    except ImportError:
        return ""
    chart = charts.tradeoff(frame, state.x, state.y, size=state.size, log=tuple(sorted(state.log)))
    drawn = io.BytesIO()
    chart.properties(width=WIDTH, height=HEIGHT, background="white").save(drawn, format="png", scale_factor=1.5)
    return (
        f'<img width="{WIDTH}" alt="{said}" src="data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}">'
    )


def _table(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    names = [name for name in columns if name in frame and frame[name].notna().any()]
    heads = "".join(f"<th>{escape(column(name).label)}</th>" for name in names)
    lines = "".join(
        f"<tr><th>{escape(row['name'])}{' (measured elsewhere)' if row['elsewhere'] else ''}</th>"
        + "".join(f"<td>{_text(name, row[name])}</td>" for name in names)
        + "</tr>"
        for row in frame.to_dict("records")
    )
    return f"<table><thead><tr><th>Variant</th>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _text(name: str, value: float) -> str:
    return "not measured" if pd.isna(value) else escape(column(name).text(value))
