"""What a search makes of the state: what it is asked for, what it predicts, what it found. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from workbench.errors import BadValue, unknown
from workbench.recipe import Recipe
from workbench.search.found import Promise
from workbench.search.goal import SMALL
from workbench.search.outlook import outlook
from workbench.study import Study
from workbench_widgets import editing, wishes
from workbench_widgets.searches import Expected, Search
from workbench_widgets.store import State
from workbench_widgets.wishes import Bound

#: Points of the predicted front that lose so many times what may be lost are not shown: they would squeeze the rest.
FAR = 5.0
PROMISE = "promise"


def of(state: State) -> Search | None:
    """The latest search of the study that is shown."""
    return next((one for one in state.searches if one.study is state.study), None)


def begun(state: State, search: Search) -> State:
    """With a search in the place of the one before of the same study."""
    return replace(state, searches=(*(one for one in state.searches if one.study is not search.study), search))


def changed(state: State, study: Study, **changes: object) -> State:
    """With a study's search as it is now."""
    found = tuple(replace(one, **changes) if one.study is study else one for one in state.searches)  # type: ignore[arg-type]
    return replace(state, searches=found)


def expected(study: Study, promises: Sequence[Promise], most: float) -> tuple[Expected, ...]:
    """The points of a predicted front that are worth showing, where at most so much may be lost."""
    metric, baseline = study.task.principal, study.find(Recipe())
    if baseline is None:
        return ()
    far = FAR * most if math.isfinite(most) else 1.0 if metric.share else math.inf
    near = [one for one in promises if one.loss <= far] or list(promises[-1:])
    return tuple(
        Expected(one.recipe, outlook(one.recipe.plan(study.model), baseline, metric, one), one.loss, one.gap)
        for one in near
    )


def promise(state: State, name: str) -> Recipe | None:
    """The recipe of a point of the predicted front, by the id that the chart knows it by."""
    search, (kind, _, number) = of(state), name.partition(" ")
    if search is None or kind != PROMISE or not number.isdecimal() or int(number) >= len(search.front):
        return None
    return search.front[int(number)].recipe


def take_promise(state: State, name: str) -> State:
    """With the recipe of a point of the predicted front in the editor. Raises: `BadValue`."""
    recipe = promise(state, name)
    if recipe is None:
        raise BadValue(f"The predicted front has no point {name!r} any more. Choose one of those that are shown.")
    return editing.take(state, recipe)


# --- what it is asked for


def want(state: State, minimise: str) -> State:
    """With another figure to make small. Raises: `UnknownName`."""
    if minimise not in SMALL:
        raise unknown("figure to minimise", minimise, SMALL)
    return _wishing(state, minimise=minimise)


def want_time(state: State, minutes: str) -> State:
    """With another time, as typed."""
    return _wishing(state, minutes=minutes)


def want_training(state: State, on: bool) -> State:
    """With training, or without."""
    return _wishing(state, train=on)


def bind(state: State, index: int, figure: str, text: str) -> State:
    """With a row of the limits changed; another figure begins with a number of its own. Raises: `UnknownName`."""
    bounds = list(state.wish.bounds)
    if not 0 <= index < len(bounds):
        raise BadValue(f"There is no limit number {index + 1}.")
    bounds[index] = Bound(figure, text) if bounds[index].figure == figure else _start(state, figure)
    return _wishing(state, bounds=tuple(bounds))


def bind_more(state: State) -> State:
    """With one row of the limits more: the first figure that has none."""
    used = {one.figure for one in state.wish.bounds}
    free = [one for one in free_figures(state) if one not in used and one != "floor"]
    return _wishing(state, bounds=(*state.wish.bounds, _start(state, free[0]))) if free else state


def unbind(state: State, index: int) -> State:
    """With one row of the limits less."""
    return _wishing(state, bounds=state.wish.bounds[:index] + state.wish.bounds[index + 1 :])


def free_figures(state: State) -> dict[str, wishes.Figure]:
    """What can be limited in the study that is shown. Raises: `BadValue` before one is."""
    if state.study is None:
        raise BadValue("The model is still loading.")
    return wishes.figures(state.study.task.principal)


def _start(state: State, figure: str) -> Bound:
    known = free_figures(state)
    if figure not in known or state.study is None:
        raise unknown("figure to limit", figure, known)
    return Bound(figure, f"{known[figure].start(Recipe().plan(state.study.model)):g}")


def _wishing(state: State, **changes: object) -> State:
    return replace(state, wish=replace(state.wish, **changes))  # type: ignore[arg-type]
