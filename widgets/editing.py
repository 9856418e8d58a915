"""Changes of the recipe, each a pure function from a state to the next. A recipe is a value, so undo is free."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

from workbench.errors import BadValue
from workbench.recipe import Recipe
from workbench.steps.base import Step
from workbench_widgets.store import Problem, State

HISTORY = 100


def with_recipe(state: State, recipe: Recipe, editing: tuple[int, str] | None = None) -> State:
    """The state with another recipe, which undo takes back.

    Changes of the same setting while it is being dragged (`editing`) count as one.
    """
    if recipe == state.recipe:
        return replace(state, problem=None, editing=editing)
    same_drag = editing is not None and editing == state.editing
    past = state.past if same_drag else (*state.past, state.recipe)[-HISTORY:]
    return replace(state, recipe=recipe, past=past, future=(), editing=editing, problem=None)


def undo(state: State) -> State:
    """One change back, where there is one."""
    if not state.past:
        return state
    *past, recipe = state.past
    future = (state.recipe, *state.future)
    return replace(state, recipe=recipe, past=tuple(past), future=future, editing=None, problem=None)


def redo(state: State) -> State:
    """The change taken back last, again."""
    if not state.future:
        return state
    recipe, *future = state.future
    past = (*state.past, state.recipe)
    return replace(state, recipe=recipe, past=past, future=tuple(future), editing=None, problem=None)


def add(state: State, step: Step) -> State:
    """With one step more, at the last place where a recipe may have it."""
    steps = state.recipe.steps
    for place in range(len(steps), -1, -1):
        try:
            return with_recipe(state, Recipe((*steps[:place], step, *steps[place:])))
        except BadValue:
            if place == 0:
                raise
    raise AssertionError("unreachable")  # pragma: no cover


def remove(state: State, index: int) -> State:
    """Without the step at `index`."""
    steps = state.recipe.steps
    return with_recipe(state, Recipe(steps[:index] + steps[index + 1 :]))


def move(state: State, index: int, by: int) -> State:
    """With the step at `index` moved `by` places. Raises `BadValue` where the order would not work."""
    steps = list(state.recipe.steps)
    step = steps.pop(index)
    steps.insert(max(0, index + by), step)
    return with_recipe(state, Recipe(tuple(steps)))


def set_value(state: State, place: tuple[int, str], value: object, final: bool) -> State:
    """With one setting of one step changed. Raises `BadValue`."""
    index, name = place
    steps = list(state.recipe.steps)
    steps[index] = dataclasses.replace(steps[index], **{name: value})  # type: ignore[type-var]  # steps are dataclasses
    changed = with_recipe(state, Recipe(tuple(steps)), place)
    return replace(changed, editing=None) if final else changed


def with_problem(state: State, place: tuple[int, str], text: str, sentence: str) -> State:
    """The recipe stays as it was; what was typed is kept beside the reason against it."""
    return replace(state, problem=Problem(*place, text, sentence))
