"""The variants on the screen as one frame: those measured here, those measured elsewhere, and who meets the limits."""

from __future__ import annotations

import pandas as pd

from workbench.errors import WorkbenchError
from workbench.frames.frame import on_one_machine, to_frame, where_rows
from workbench.measure.evaluation import CHANGE
from workbench.published import Published
from workbench.tasks.unlabelled import APART
from workbench_widgets.remembered import remembered
from workbench_widgets.store import State


def everything(state: State) -> pd.DataFrame:
    """A study's frame with the columns `elsewhere` and `feasible`; what was measured here replaces its like.

    Archived variants are left out unless they are asked for.
    """
    return _everything(state.frame, state.published if state.study else None, state.archived, state.limit)


@remembered
def _everything(here: pd.DataFrame, there: Published | None, archived: bool, limit: str) -> pd.DataFrame:
    kept = here if archived or here.empty else here[~here["archived"].astype(bool)]
    frame = kept.reset_index(drop=True).assign(elsewhere=False) if len(kept) else pd.DataFrame()
    known = set(here["id"]) if len(here) else set()
    others = [one for one in there.variants if one.id not in known] if there is not None else []
    if others:
        frame = _together(frame, to_frame(others).assign(elsewhere=True))
    return frame if frame.empty else frame.assign(feasible=_feasible(limit, frame))


def _together(here: pd.DataFrame, there: pd.DataFrame) -> pd.DataFrame:
    """Both, with milliseconds as on the machine of the original that is shown, and ready for paired comparison."""
    frame = on_one_machine(pd.concat([here, there], ignore_index=True))
    one, two = here.attrs.get("samples", {}), there.attrs.get("samples", {})
    frame.attrs |= here.attrs | {"samples": {name: one.get(name, {}) | two.get(name, {}) for name in {**one, **two}}}
    return frame


def _feasible(limit: str, frame: pd.DataFrame) -> pd.Series[bool]:
    try:
        met = where_rows(frame, limit).index
    except WorkbenchError:  # said beside the field where it was typed
        met = frame.index
    return pd.Series(frame.index.isin(met), index=frame.index)


def axes(state: State) -> tuple[str, str] | None:
    """The columns across and up in the chart that is shown; None for one without two such axes."""
    return {"tradeoff": (state.x, state.y), "speedup": ("predicted_speedup", "speedup")}.get(state.tab)


def judged_by(state: State) -> tuple[str, ...]:
    """The figures that say how good a variant's answers are: what the study is judged by, and its task's others."""
    return tuple(one.name for one in state.study.task.metrics) if state.study else ("accuracy",)


def qualities(state: State) -> tuple[str, ...]:
    """`judged_by`, each with its paired difference from the original behind it, where it is not one itself."""
    ends = ((name, ("",) if name in APART else ("", CHANGE)) for name in judged_by(state))
    return tuple(f"{name}{end}" for name, both in ends for end in both)
