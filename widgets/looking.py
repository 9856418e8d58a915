"""Changes of what is looked at, each a pure function from a state to the next."""

from __future__ import annotations

from dataclasses import replace

from workbench.charts import column
from workbench.cost.by_layer import COSTS
from workbench.errors import BadValue, WorkbenchError, unknown
from workbench.frame import where_rows
from workbench_widgets import rows
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


def size(state: State, column: str) -> State:
    """With another column as the area of the marks. Raises `UnknownName`."""
    _known(column)
    return replace(state, size=column)


def log(state: State, axis: str, on: bool) -> State:
    """With a logarithmic or a linear scale on an axis."""
    return replace(state, log=state.log | {axis} if on else state.log - {axis})


def limit(state: State, text: str) -> State:
    """With other limits; those that cannot be read are kept beside the reason, and no variant is greyed."""
    try:
        where_rows(rows.everything(state), text)
        problem = ""
    except WorkbenchError as error:
        problem = str(error)
    return replace(state, limit=text, limit_problem=problem)


def lineage(state: State, on: bool) -> State:
    """With the table in the order of lineage, or of time."""
    return replace(state, lineage=on)


def compare(state: State, id: str) -> State:  # noqa: A002  # the frame's word
    """With another variant beside the chosen one; "" for none."""
    return replace(state, compared=id)


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
