"""What every chart of variants shares: the groups of marks, and a frame's columns as charts need them."""

from __future__ import annotations

import altair as alt
import pandas as pd

from workbench.charts.rows import records
from workbench.errors import BadValue
from workbench.frames.pareto import front
from workbench.interface.arguments import check_kinds

DATASET = "variants"
ORIGINAL = "Original"
LINE = "#767676"  # of what only guides the eye; seen on light and dark
#: What a mark stands for: its colour and its shape, in the order of the legend.
Groups = dict[str, tuple[str, str]]
FRONT: Groups = {
    ORIGINAL: ("#d55e00", "square"),
    "Pareto front": ("#0072b2", "diamond"),
    "Other variant": ("#767676", "circle"),
}
#: The colour of each group of the trade-off, for whoever draws a legend of it elsewhere.
COLOURS = {name: colour for name, (colour, _) in FRONT.items()}


@check_kinds
def competing(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows among which a Pareto front is sought: within the limits and, once there are any, measured here.

    Milliseconds of two machines do not compare.
    """
    rows = frame[frame["feasible"].astype(bool)] if "feasible" in frame else frame
    if "elsewhere" in rows and not rows["elsewhere"].all():
        return rows[~rows["elsewhere"].astype(bool)]
    return rows


def on_front(frame: pd.DataFrame, x: str, y: str) -> pd.Series[bool]:
    """Which rows are on the Pareto front of those that compete; none where a column is missing."""
    if frame.empty or x not in frame or y not in frame:
        return pd.Series(False, index=frame.index, dtype=bool)
    return pd.Series(frame.index.isin(front(competing(frame), x, y).index), index=frame.index)


@check_kinds
def roles(frame: pd.DataFrame, x: str, y: str) -> pd.Series[str]:
    """The group of `FRONT` that each row belongs to."""
    found = on_front(frame, x, y).map({True: "Pareto front", False: "Other variant"}).astype(object)
    return found.mask(flag(frame, "is_baseline", False), ORIGINAL)


def legend(size: float = 110) -> alt.Legend:
    """A legend above the chart that breaks its line where the chart is narrow."""
    columns = alt.ExprRef("width < 220 ? 1 : width < 420 ? 2 : 4")
    return alt.Legend(orient="top", direction="horizontal", symbolSize=size, columns=columns)


def flag(frame: pd.DataFrame, name: str, default: bool) -> pd.Series[bool]:
    """A column of truth values; `default` where the frame lacks it."""
    return frame[name].astype(bool) if name in frame else pd.Series(default, index=frame.index, dtype=bool)


def check_frame(frame: object) -> None:
    """Raise `BadValue` for anything else than a frame, such as the study itself."""
    if not isinstance(frame, pd.DataFrame):
        raise BadValue(f"A chart of variants is drawn from a frame, got {type(frame).__name__}. Pass study.frame().")


def numbers(frame: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column of numbers; NaN where there is none."""
    values = frame[name] if name in frame else pd.Series(float("nan"), index=frame.index)
    return pd.to_numeric(values, errors="coerce").astype(float)


def texts(frame: pd.DataFrame, name: str) -> pd.Series[str]:
    """A column of texts; the index where the frame lacks it."""
    values = frame[name] if name in frame else pd.Series(frame.index, index=frame.index)
    return values.astype(str)


def data(rows: pd.DataFrame) -> alt.InlineData:
    """The rows under a name, so that a view already drawn can be given other rows."""
    return alt.InlineData(values=records(rows), name=DATASET)
