"""The Pareto front of a frame: what no other row beats in both columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

#: Columns of which more is better; of every other, less is, unless the frame's `attrs` say so.
MORE_IS_BETTER = frozenset({"accuracy", "agreement", "miou", "top5", "speedup", "predicted_speedup"})


def front(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The rows that no other row equals or beats in `x` and `y` and beats in one, sorted by `x`.

    Rows with a missing value in either column are left out; of rows equal in both all stay.
    Raises: `UnknownName` for a column that is not in the frame.
    """
    for column in (x, y):
        if column not in frame.columns:
            raise unknown("column", column, frame.columns)
    rows = frame.dropna(subset=[x, y])
    if rows.empty:
        return rows
    costs = rows[[x, y]].astype(float).copy()
    for column in (x, y):
        if more_is_better(frame, column):
            costs[column] *= -1
    values = costs.to_numpy()
    keep = [not ((values <= v).all(axis=1) & (values < v).any(axis=1)).any() for v in values]
    return rows[keep].sort_values(x)


def more_is_better(frame: pd.DataFrame, column: str) -> bool:
    """Whether the larger figure of a column is the better one."""
    name = column.removeprefix("validation_")
    return name in MORE_IS_BETTER or name in frame.attrs.get("more_is_better", ())
