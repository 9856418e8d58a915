"""Changes of the recipe, each a pure function from a state to the next. Stacks are values, so undo is free."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

from workbench.errors import BadValue, unknown
from workbench.recipe import Recipe
from workbench.step import REGISTRY, Step
from workbench_widgets.store import Entry, Message, Problem, Stack, State

HISTORY = 100


def of_recipe(recipe: Recipe) -> Stack:
    """A recipe's steps, all on."""
    return tuple(Entry(step) for step in recipe)


def with_stack(state: State, stack: Stack, editing: tuple[int, str] | None = None) -> State:
    """The state with another stack, which undo takes back. Raises `BadValue` for an order that cannot work.

    Changes of the same setting while it is being dragged (`editing`) count as one.
    """
    if stack == state.stack:
        return replace(state, problem=None, editing=editing, message=_settled(state.message))
    same_drag = editing is not None and editing == state.editing
    past = state.past if same_drag else (*state.past, state.stack)[-HISTORY:]
    return replace(_holding(state, stack), past=past, future=(), editing=editing)


def _holding(state: State, stack: Stack) -> State:
    recipe = Recipe(tuple(entry.step for entry in stack if entry.on))
    kept = state.recipe if recipe == state.recipe else recipe  # an unchanged recipe needs no new prediction
    focus = max(0, min(state.focus, len(stack) - 1))
    return replace(state, stack=stack, recipe=kept, focus=focus, problem=None, message=_settled(state.message))


def _settled(message: Message) -> Message:
    """What was said of the recipe before does not stay beside the next one."""
    return Message() if message.kind == "error" else message


def undo(state: State) -> State:
    """One change back, where there is one."""
    if not state.past:
        return state
    *past, stack = state.past
    return replace(_holding(state, stack), past=tuple(past), future=(state.stack, *state.future), editing=None)


def redo(state: State) -> State:
    """The change taken back last, again."""
    if not state.future:
        return state
    stack, *future = state.future
    return replace(_holding(state, stack), past=(*state.past, state.stack), future=tuple(future), editing=None)


def add(state: State, step: Step) -> State:
    """With one step more, at the last place where a recipe may have it."""
    stack = state.stack
    for place in range(len(stack), -1, -1):
        try:
            changed = with_stack(state, (*stack[:place], Entry(step), *stack[place:]))
        except BadValue:
            if place == 0:
                raise
        else:
            return replace(changed, focus=place, layers=())
    raise AssertionError("unreachable")  # pragma: no cover


def add_named(state: State, name: str) -> State:
    """With a step of the menu more, at its default settings, for the chosen layers. Raises `UnknownName`."""
    if name not in REGISTRY:
        raise unknown("step", name, REGISTRY)
    kind = REGISTRY[name]
    return add(state, kind(layers=state.layers) if state.layers and has_layers(kind) else kind())  # type: ignore[call-arg]  # its own fields


def take(state: State, recipe: Recipe) -> State:
    """With another recipe in the place of the stack."""
    return replace(with_stack(state, of_recipe(recipe)), focus=0)


def remove(state: State, index: int) -> State:
    """Without the step at `index`."""
    return with_stack(state, state.stack[:index] + state.stack[index + 1 :])


def move(state: State, index: int, by: int) -> State:
    """With the step at `index` moved `by` places. Raises `BadValue` where the order would not work."""
    stack = list(state.stack)
    entry = stack.pop(index)
    place = max(0, index + by)
    stack.insert(place, entry)
    return replace(with_stack(state, tuple(stack)), focus=place)


def switch(state: State, index: int, on: bool) -> State:
    """With the step at `index` on or off. Raises `BadValue` where its place would not work."""
    entry = replace(state.stack[index], on=on)
    return replace(with_stack(state, (*state.stack[:index], entry, *state.stack[index + 1 :])), focus=index)


def focus(state: State, index: int) -> State:
    """With the step at `index` as the one being edited."""
    return state if index == state.focus or not 0 <= index < len(state.stack) else replace(state, focus=index)


def set_value(state: State, place: tuple[int, str], value: object, final: bool) -> State:
    """With one setting of one step changed. Raises `BadValue`."""
    index, name = place
    entry = state.stack[index]
    step = dataclasses.replace(entry.step, **{name: value})  # type: ignore[type-var]  # steps are dataclasses
    stack = (*state.stack[:index], replace(entry, step=step), *state.stack[index + 1 :])
    changed = replace(with_stack(state, stack, place), focus=index)
    return replace(changed, editing=None) if final else changed


def with_problem(state: State, place: tuple[int, str], text: str, sentence: str) -> State:
    """The recipe stays as it was; what was typed is kept beside the reason against it."""
    return replace(state, problem=Problem(*place, text, sentence))


def has_layers(step: Step | type[Step]) -> bool:
    """Whether a step works on layers that can be named."""
    return any(one.name == "layers" and one.kind == "layers" for one in step.settings())
