"""What is predicted, drawn hollow beside what was measured: the front of a search, and a recipe being edited."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from workbench.charts.columns import column, lower
from workbench.charts.marks import flag, numbers, texts
from workbench.interface.arguments import check_kinds

#: The kinds of rows of a trade-off: what was measured; the predicted front; a recipe of which nothing is measured.
MEASURED, FRONT, RECIPE = "measured", "front", "recipe"
_COLOUR = {FRONT: "#0072b2", RECIPE: "#009e73"}


@check_kinds
def predicted_points(frame: pd.DataFrame, predicted: pd.DataFrame | None, x: str, y: str) -> pd.DataFrame:
    """The rows of `predicted` as `points` gives those of `frame`: `id`, `name`, `kind`, `x`, `y`, `known`.

    `predicted` has the columns `id`, `name`, `kind` ("front" or "recipe") and figures as those of `Study.frame()`. A
    recipe whose `y` nobody knows stands at the original's height, and is not `known`.
    """
    if predicted is None or predicted.empty or frame.empty:
        return pd.DataFrame()
    table = predicted.reset_index(drop=True)
    found = pd.DataFrame({name: texts(table, name) for name in ("id", "name", "kind")})
    for axis, name in (("x", x), ("y", y)):
        found[axis] = numbers(table, name) / column(name).scale
    found["known"] = np.isfinite(found["y"])
    original = numbers(frame[flag(frame, "is_baseline", False)], y) / column(y).scale
    if len(original):
        found["y"] = found["y"].where(found["known"] | (found["kind"] != RECIPE), float(original.iloc[0]))
    drawn: pd.DataFrame = found[np.isfinite(found["x"]) & np.isfinite(found["y"])]
    return drawn


def predicted_layers(base: alt.Chart, axes: tuple[alt.X, alt.Y]) -> list[alt.Chart]:
    """A dotted line with hollow marks for the front, and a hollow triangle for the recipe."""
    across, up = axes
    front, recipe = (base.transform_filter(f"datum.kind == '{kind}'") for kind in (FRONT, RECIPE))
    unknown = base.transform_filter(f"datum.kind == '{RECIPE}' && !datum.known")
    tooltip = [
        alt.Tooltip("name:N", title="Predicted"),
        alt.Tooltip("y:Q", title=up["title"], format=",.4~g"),
        alt.Tooltip("x:Q", title=across["title"], format=",.4~g"),
    ]
    hollow = front.mark_point(shape="diamond", size=110, color=_COLOUR[FRONT], strokeWidth=1.8, cursor="pointer")
    edited = recipe.mark_point(shape="triangle-up", size=170, color=_COLOUR[RECIPE], strokeWidth=1.8)
    return [
        front.mark_line(color=_COLOUR[FRONT], strokeDash=[1, 4], strokeCap="round", strokeWidth=2).encode(
            x=across, y=up, order=alt.Order("x:Q")
        ),
        unknown.mark_rule(color=_COLOUR[RECIPE], strokeDash=[6, 4], strokeWidth=1.5).encode(x=across),
        hollow.properties(name="promises").encode(x=across, y=up, tooltip=tooltip),
        edited.properties(name="edited").encode(x=across, y=up, tooltip=tooltip),
    ]


def predicted_summary(rows: pd.DataFrame, x: str, y: str) -> str:
    """What is predicted in words, for a reader who cannot see it; "" where nothing is."""
    said = ""
    front = rows[rows["kind"] == FRONT] if len(rows) else rows
    if len(front):
        said += f" The predicted front has {len(front)} points: {_span(front, 'y', y)} and {_span(front, 'x', x)}."
    for _, one in (rows[rows["kind"] == RECIPE] if len(rows) else rows).iterrows():
        up = f"{lower(column(y).label)} {column(y).text(one['y'] * column(y).scale)}"
        rest = up if one["known"] else f"{lower(column(y).label)} not known before it runs"
        at = column(x).text(one["x"] * column(x).scale)
        said += f" {one['name']}, predicted: {lower(column(x).label)} {at}, {rest}."
    return said


def _span(rows: pd.DataFrame, axis: str, name: str) -> str:
    shown = column(name)
    low, high = (end * shown.scale for end in (rows[axis].min(), rows[axis].max()))
    return f"{lower(shown.label)} {shown.number(low)} to {shown.text(high)}"
