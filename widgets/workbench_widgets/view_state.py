"""Changes of what is looked at, each a pure function from a state to the next."""

from __future__ import annotations

from dataclasses import replace

from workbench import charts
from workbench.charts import column
from workbench.cost.by_layer import COSTS
from workbench.errors import BadValue, WorkbenchError, unknown
from workbench.frames.frame import where_rows
from workbench.frames.limits import read_limits, with_bound, write_limits
from workbench_widgets import charting, results, rows, search_state
from workbench_widgets.store import Message, State


def select(state: State, id: str) -> State:  # noqa: A002  # the frame's word
    """With a variant chosen; chart and table show which. A point of the predicted front goes to the editor."""
    if id.startswith(search_state.PROMISE):
        return search_state.take_promise(state, id)
    return state if id == charting.EDITED else replace(state, selected=id)


def axis(state: State, axis: str, column: str) -> State:
    """With another column on an axis of the chart. Raises `UnknownName`."""
    _known(state, column)
    if axis not in {"x", "y"}:
        raise BadValue(f"The chart has the axes x and y, not {axis!r}.")
    return replace(state, x=column) if axis == "x" else replace(state, y=column)


def size(state: State, column: str) -> State:
    """With another column as the area of the marks. Raises `UnknownName`."""
    _known(state, column)
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


def drag(state: State, axis: str, value: float | None) -> State:
    """With the limit of an axis at `value`, in the axis' unit; without it for None. The text follows."""
    axes, frame = rows.axes(state), rows.everything(state)
    if axes is None or axis not in {"x", "y"}:
        raise BadValue(f"This chart has no axis {axis!r} to set a limit on.")
    name = axes["xy".index(axis)]
    limits = () if state.limit_problem else read_limits(state.limit)
    at = None if value is None else float(f"{value * column(name).scale:.4g}")  # finer than a pixel
    return limit(state, write_limits(with_bound(limits, charting.bound(state, frame, name)[0], at)))


def parallel(state: State, column: str, on: bool) -> State:
    """With a column's axis among the parallel ones, or without it. Raises: `BadValue` for the last one."""
    _known(state, column)
    shown = charts.parallel_columns(rows.everything(state), state.parallel, state.y)
    kept = [name for name in shown if name != column]
    if not kept and not on:
        raise BadValue("The chart needs one axis at least.")
    return replace(state, parallel=(*kept, column) if on else tuple(kept))


def lineage(state: State, on: bool) -> State:
    """With the table in the order of lineage, or of time."""
    return replace(state, lineage=on)


def columns(state: State, column: str, on: bool) -> State:
    """With a column of the table more, or one less. Raises: `UnknownName`."""
    frame = rows.everything(state)
    known = [*charts.drawable(frame), *results.WORDS]
    if column not in known:
        raise unknown("column", column, known)
    now = {*results.shown(state, frame)}
    now = now | {column} if on else now - {column}
    order = dict.fromkeys((*results.shown(state, frame), *known))
    return replace(state, columns=tuple(name for name in order if name in now))


def usual_columns(state: State) -> State:
    """With the usual columns of the table."""
    return replace(state, columns=())


def archived(state: State, on: bool) -> State:
    """With archived variants in table and charts, or without."""
    return replace(state, archived=on)


def beside(state: State, id: str, on: bool) -> State:  # noqa: A002  # the frame's word
    """With one variant more or less side by side."""
    if state.variant(id) is None:
        raise BadValue("This variant is not here any more.")
    kept = tuple(one for one in state.beside if one != id)
    return replace(state, beside=(*kept, id) if on else kept)


def nothing_beside(state: State) -> State:
    """With no variants side by side."""
    return replace(state, beside=())


def against(state: State, id: str) -> State:  # noqa: A002  # the frame's word
    """With another of those side by side as the one that the others are compared with."""
    return replace(state, beside=(id, *(one for one in state.beside if one != id))) if id in state.beside else state


def compare(state: State, id: str) -> State:  # noqa: A002  # the frame's word
    """With another variant beside the chosen one; "" for none."""
    return replace(state, compared=id)


def tab(state: State, tab: str) -> State:
    """With another chart. Raises `UnknownName`."""
    names = [one["value"] for one in charting.TABS]
    if tab not in names:
        raise unknown("chart", tab, names)
    return replace(state, tab=tab)


def cost(state: State, cost: str) -> State:
    """With another cost in the chart of layers. Raises `UnknownName`."""
    if cost not in COSTS:
        raise unknown("cost", cost, COSTS)
    return replace(state, cost=cost)


def dismiss(state: State) -> State:
    """With nothing said in the status strip."""
    return replace(state, message=Message())


def _known(state: State, name: str) -> None:
    charts.check_columns(rows.everything(state), name)
