"""The variants on the screen as one frame: those measured here, those measured elsewhere, and who meets the limits."""

from __future__ import annotations

import pandas as pd

from workbench.errors import WorkbenchError
from workbench.frame import to_frame, where_rows
from workbench_widgets.store import State


def everything(state: State) -> pd.DataFrame:
    """A study's frame with the columns `elsewhere` and `feasible`; what was measured here replaces its like."""
    frame = state.frame.assign(elsewhere=False) if len(state.frame) else pd.DataFrame()
    if state.published is not None and state.study is not None:
        known = set(frame["id"]) if len(frame) else set()
        others = [one for one in state.published.variants if one.id not in known]
        if others:
            frame = pd.concat([frame, to_frame(others).assign(elsewhere=True)], ignore_index=True)
    return frame if frame.empty else frame.assign(feasible=_feasible(state, frame))


def _feasible(state: State, frame: pd.DataFrame) -> pd.Series[bool]:
    try:
        met = where_rows(frame, state.limit).index
    except WorkbenchError:  # said beside the field where it was typed
        met = frame.index
    return pd.Series(frame.index.isin(met), index=frame.index)


def lineage(recipes: list[list[str]]) -> list[tuple[int, int]]:
    """Rows in the order of a tree, each with its depth: a recipe stands under the longest one that it begins with.

    `recipes` are lists of steps, each step as text.
    """
    keys = [tuple(one) for one in recipes]
    parents = {}
    for index, key in enumerate(keys):
        before = [i for i, other in enumerate(keys) if len(other) < len(key) and key[: len(other)] == other]
        parents[index] = max(before, key=lambda i: len(keys[i]), default=-1)

    def under(parent: int, depth: int) -> list[tuple[int, int]]:
        children = [index for index, of in parents.items() if of == parent]
        return [pair for child in children for pair in ((child, depth), *under(child, depth + 1))]

    return under(-1, 0)
