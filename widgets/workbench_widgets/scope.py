"""Which layers the step being edited is for: the choice in the table of layers and a step's `layers` are one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from workbench.cost.by_layer import origin
from workbench.errors import WorkbenchError
from workbench.step import Step, select
from workbench_widgets.editing import has_layers, set_value
from workbench_widgets.store import State


def scoped(state: State) -> Step | None:
    """The step that a choice of layers is for: the one being edited, where it works on single layers."""
    if not state.stack:
        return None
    step = state.stack[state.focus].step
    return step if has_layers(step) else None


def chosen(state: State) -> frozenset[str]:
    """The layers of the original that are chosen; none stands for all of them."""
    step = scoped(state)
    if step is None:
        return frozenset(state.layers)
    patterns = step.layers  # type: ignore[attr-defined]  # `scoped` gives no step without it
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    if patterns == ("*",):
        return frozenset()
    known, seen = _names(state)
    parts = {one.removesuffix(".*") for one in patterns} & set(known)  # also while the prediction is on its way
    try:
        matching = select(patterns, (*known, *seen))
    except WorkbenchError:  # the prediction says which name is unknown
        matching = ()
    return frozenset(origin(name, known) for name in parts.union(matching)) - {""}


def toggle(state: State, layer: str) -> State:
    """With one layer more or less among the chosen."""
    now = chosen(state)
    return choose(state, now ^ {layer})


def choose(state: State, layers: Iterable[str]) -> State:
    """With exactly these layers chosen; none stands for all. The step being edited is set to them."""
    known, seen = _names(state)
    wanted = tuple(name for name in known if name in set(layers))
    if scoped(state) is None:
        return replace(state, layers=wanted)
    patterns = tuple(_pattern(name, seen) for name in wanted)
    value = "*" if not patterns else patterns[0] if len(patterns) == 1 else patterns
    return set_value(state, (state.focus, "layers"), value, final=True)


def _pattern(name: str, seen: tuple[str, ...]) -> str:
    """A layer by its name, or all that a step before has made of it."""
    return f"{name}.*" if name not in seen and any(one.startswith(f"{name}.") for one in seen) else name


def _names(state: State) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers with weights of the original, and of the network that the step being edited is given."""
    if state.study is None:
        return (), ()
    known = tuple(state.study.model.network.by_module)
    if state.plan is None or state.planned != state.recipe:
        return known, known
    seen = state.seen_by(state.focus)
    return known, tuple(seen.by_module) if seen else known
