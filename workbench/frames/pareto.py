"""The Pareto front of a frame: what no other row beats in both columns, ties in favour of the simpler."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workbench.errors import unknown
from workbench.estimate import Estimate, quotient
from workbench.frames.limits import about
from workbench.measure.paired import Sample
from workbench.tasks import METRICS

if TYPE_CHECKING:
    import pandas as pd

#: Columns of which more is better; of every other, less is, unless the frame's `attrs` say so.
MORE_IS_BETTER = frozenset({"speedup", "predicted_speedup", *(m.name for m in METRICS.values() if m.more_is_better)})
#: Columns that the ratio in turns decides where every row has one.
TIMED = frozenset({"latency_ms", "speedup"})


def front(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The rows that no other row equals or beats in `x` and `y` and beats in one, sorted by `x`.

    A row that cannot be told from a simpler one leaves its place to it: with a paired interval (from
    `attrs["samples"]`, or of the ratio in turns) that holds no difference, or equal figures, in both columns. Simpler
    is what has fewer steps, and of as many what came first. Speed is ranked by the ratio in turns where there is one.
    Rows with a missing value in either column are left out.
    Raises: `UnknownName` for a column that is not in the frame.
    """
    for column in (x, y):
        if column not in frame.columns:
            raise unknown("column", column, frame.columns)
    rows = frame.dropna(subset=[x, y])
    if rows.empty:
        return rows
    ties = Ties(rows, x, y)
    kept = {ties.simplest(place) for place in range(len(rows)) if not ties.beaten(place)}
    return rows.iloc[sorted(kept)].sort_values(x)


class Ties:
    """The rows of a frame by two columns: which is beaten by which, and which cannot be told from which."""

    def __init__(self, rows: pd.DataFrame, x: str, y: str) -> None:
        self.known = rows.attrs.get("samples", {})
        self.rows = rows.copy()
        self.rows.attrs = {}  # pandas copies all samples whenever a column is looked at
        self.ranked = {column: self._ranked(column) for column in (x, y)}
        self.costs = self.rows[list(self.ranked.values())].to_numpy(float, copy=True)
        for place, column in enumerate(self.ranked.values()):
            if more_is_better(rows, column):
                self.costs[:, place] *= -1
        ends = [name for name in ("speedup", "speedup_low", "speedup_high") if name in rows]
        self.ratios = self.rows[ends].to_numpy(float) if len(ends) == 3 else None
        self.order = sorted(range(len(rows)), key=self._complexity)
        self._samples: dict[tuple[str, int], Sample | None] = {}

    def beaten(self, place: int) -> bool:
        """Whether some row is at least as good in both columns and better in one."""
        return bool(self._beating(place).any())

    def simplest(self, place: int) -> int:
        """The simplest row that cannot be told from this one, and that no row beats which can be told from it."""
        for other in self.order:
            if other == place:
                break
            if self.tied(other, place) and all(self.tied(one, other) for one in self._beating(other).nonzero()[0]):
                return other
        return place

    def tied(self, one: int, two: int) -> bool:
        """Whether two rows cannot be told apart in either column."""
        return all(self._tied(column, one, two) for column in self.ranked)

    def _beating(self, place: int) -> Any:
        values, mine = self.costs, self.costs[place]
        return (values <= mine).all(axis=1) & (values < mine).any(axis=1)

    def _ranked(self, column: str) -> str:
        timed = column in TIMED and "speedup" in self.rows and bool(self.rows["speedup"].notna().all())
        return "speedup" if timed else column

    def _complexity(self, place: int) -> tuple[int, int]:
        recipe = self.rows["recipe"].iloc[place] if "recipe" in self.rows else "[]"
        return len(json.loads(recipe)), place

    def _tied(self, column: str, one: int, two: int) -> bool:
        if self.rows[column].iloc[one] == self.rows[column].iloc[two]:
            return True
        if self.ranked[column] == "speedup" and self.ratios is not None:
            return quotient(*(Estimate(*self.ratios[place]) for place in (one, two))).holds(1)
        before, after = self._sample(column, one), self._sample(column, two)
        return before is not None and after is not None and before.change_to(after).holds(0)

    def _sample(self, column: str, place: int) -> Sample | None:
        key = column, place
        if key not in self._samples:
            known = self.known.get(column, {})
            text = known.get(self.rows["id"].iloc[place]) if "id" in self.rows else None
            self._samples[key] = None if text is None else Sample.read(text)
        return self._samples[key]


def more_is_better(frame: pd.DataFrame, column: str) -> bool:
    """Whether the larger figure of a column is the better one."""
    name = about(column).removeprefix("validation_").removesuffix("_change")
    return name in MORE_IS_BETTER or name in frame.attrs.get("more_is_better", ())
