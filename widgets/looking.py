"""Changes of what is looked at, each a pure function from a state to the next."""

from __future__ import annotations

from dataclasses import replace

from workbench.charts import column
from workbench.cost.by_layer import COSTS
from workbench.errors import BadValue, unknown
from workbench_widgets.store import State


def select(state: State, id: str) -> State:  # noqa: A002  # the frame's word
    """With a variant chosen; chart and table show which."""
    return replace(state, selected=id)


def axis(state: State, axis: str, column: str) -> State:
    """With another column on an axis of the chart. Raises `UnknownName`."""
    _known(column)
    if axis not in {"x", "y"}:
        raise BadValue(f"The chart has the axes x and y, not {axis!r}.")
    return replace(state, x=column) if axis == "x" else replace(state, y=column)


def tab(state: State, tab: str) -> State:
    """With another chart."""
    return replace(state, tab=tab)


def cost(state: State, cost: str) -> State:
    """With another cost in the chart of layers. Raises `UnknownName`."""
    if cost not in COSTS:
        raise unknown("cost", cost, COSTS)
    return replace(state, cost=cost)


def dismiss(state: State) -> State:
    """With nothing said in the status strip."""
    return replace(state, message=replace(state.message, text="Ready.", kind="info"))


def _known(name: str) -> None:
    column(name)
