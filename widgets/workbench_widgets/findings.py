"""What was measured of single layers, as columns of their table: time, and sensitivity to a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.cost.by_layer import Pair, origin
from workbench.estimate import Estimate
from workbench.recipe import Recipe
from workbench_widgets.formatting import times
from workbench_widgets.seam.cells import HeatCell
from workbench_widgets.seam.layer_view import Ask
from workbench_widgets.store import State

NONE: HeatCell = {"value": None, "text": "–", "heat": 0, "sub": "", "trend": "", "title": ""}


@dataclass(frozen=True)
class Column:
    """A column of the table of layers: its cells by the layer's name, and what the note says of it."""

    key: str
    label: str
    unit: str
    cells: Mapping[str, HeatCell]
    note: str


def columns(state: State, found: Sequence[Pair]) -> list[Column]:
    """Those that were measured."""
    return [one for one in (_time(state, found), _sensitivity(state, found)) if one is not None]


def asks(state: State) -> list[Ask]:
    """The buttons that measure them."""
    idle = all(job.done for job in state.jobs)
    step = state.stack[state.focus].step.brief if state.stack else ""
    return [
        {
            "action": "times",
            "label": "Time each layer",
            "enabled": idle and state.study is not None,
            "hint": "Runs the original, and the recipe where it was measured, with ONNX Runtime's profiler.",
        },
        {
            "action": "sensitivity",
            "label": f"Find sensitivity to {step}" if step else "Find sensitivity: add a step first",
            "enabled": idle and bool(step),
            "hint": "Applies the step being edited to one layer at a time and compares the outputs.",
        },
    ]


def _time(state: State, found: Sequence[Pair]) -> Column | None:
    known = dict(state.times)
    before, after = known.get(Recipe()), known.get(state.recipe) if state.recipe.steps else None
    if before is None:
        return None
    names = [pair.name for pair in found]
    one, two = _by_layer(before, names), _by_layer(after, names) if after is not None else None
    total, most = sum(before.values()), max([1e-9, *one.values()])
    cells: dict[str, HeatCell] = {}
    for name in (name for name in names if name in one):
        change, trend = times(one[name], two.get(name, 0.0)) if two is not None else ("", "")
        cells[name] = {
            "value": one[name], "text": f"{100 * one[name] / total:.1f} %", "heat": round(one[name] / most, 3),
            "sub": change, "trend": trend, "title": f"{1e3 * one[name]:,.1f} µs",
        }  # fmt: skip
    elsewhere = 100 * (1 - sum(one.values()) / total)
    note = f"Time: share of {1e3 * total:,.0f} µs an image, the original's operators in ONNX Runtime on one thread"
    return Column("time", "Time", "", cells, f"{note}; {elsewhere:.0f} % are outside these layers.")


def _by_layer(measured: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Milliseconds by the layer that each operator belongs to."""
    known, found = set(names), dict[str, float]()
    for layer, ms in measured.items():
        name = origin(layer, known)
        if name:
            found[name] = found.get(name, 0.0) + ms
    return found


def _sensitivity(state: State, found: Sequence[Pair]) -> Column | None:
    known = state.sensitivity
    if known is None:
        return None
    most = max([1e-9, *(one.value for one in known.layers.values())])
    modules = {pair.before.module: pair.name for pair in found if pair.before is not None}
    cells = {modules[layer]: _harm(one, most, known.unit) for layer, one in known.layers.items() if layer in modules}
    what, how = (
        ("class probabilities", "mean divergence, in thousandths of a nat") if known.unit
        else ("outputs", "size of their change over their own, in thousandths")
    )  # fmt: skip
    note = (
        f"Sensitivity: how far the {what} of {known.images} validation images move ({how}) when {known.step.brief} "
        "treats this layer alone."
    )
    return Column("sensitivity", "Sensitivity", f"to {known.step.brief}, 10⁻³ {known.unit}".rstrip(), cells, note)


def _harm(found: Estimate, most: float, unit: str) -> HeatCell:
    return {
        "value": found.value,
        "text": _digits(found.value),
        "heat": round(max(0.0, found.value / most), 3),
        "sub": f"{_digits(found.low)} to {_digits(found.high)}",
        "trend": "",
        "title": f"{found.value:.3g} {unit}".rstrip(),
    }


def _digits(value: float) -> str:
    """Thousandths."""
    return f"{1e3 * value:.2f}" if value < 0.01 else f"{1e3 * value:,.0f}"
