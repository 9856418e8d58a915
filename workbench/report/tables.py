"""The tables and tiles of a report as plain values: texts here, their form in the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench.charts import column, drawable
from workbench.charts.columns import COLUMNS
from workbench.cost.by_layer import COSTS
from workbench.cost.report import of_network
from workbench.cost.roofline import bundled
from workbench.diagnosis.comparison import EXACT, LATENCY, SPEED, Contrast, figures
from workbench.estimate import Estimate
from workbench.frames.pareto import more_is_better
from workbench.measure.evaluation import CHANGE, VALIDATION
from workbench.measure.wording import UNSURE, points, smaller, speed
from workbench.plan import Plan
from workbench.report.classes import ClassCost, Classes
from workbench.report.layers import Line
from workbench.report.subject import Subject
from workbench.report.words import difference
from workbench.variant import Variant

#: Figures that are no count and have no interval: what becomes of them is not said.
MODELLED = {"energy_uj": "estimated from a table", "predicted_speedup": "predicted", "run_memory_bytes": "read once"}
#: The columns of the table of all variants behind the figure that they are judged by, where they are known.
TABLE = ("speedup", "latency_ms", "macs", "params", "memory_access_bytes", "file_bytes")


@dataclass(frozen=True)
class Cell:
    """A figure and, small beneath it, its interval or what it is based on. `good`: better (True) or worse (False)."""

    text: str
    small: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, what is small beneath it, its cells, and an anchor to lead to."""

    name: str
    cells: tuple[Cell, ...]
    small: str = ""
    id: str = ""


@dataclass(frozen=True)
class Table:
    """Headings, of which the first is that of the names, and rows."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def tiles(about: Subject, classes: Classes, proof: Cell | None) -> list[tuple[str, Cell]]:
    """The few figures that a reader takes home, each with its interval or that it was counted."""
    one, original = about.chosen, about.original
    if one is None or not one.recipe.steps:
        return []
    found = [("Speed", _speed(one["speedup"])), (column(about.metric.name).label, _quality(about, one))]
    if classes.rows:
        found.append((f"Worst class: {classes.rows[0].name}", _class_change(classes.rows[0])))
    found += [(label, _counted(name, original, one)) for label, name in (("File", "file_bytes"), ("MACs", "macs"))]
    return found if proof is None else [*found, ("Certificate", proof)]


def _speed(ratio: Estimate) -> Cell:
    ends = f"{ratio.low:.2f} to {ratio.high:.2f}, in turns with the original"
    if ratio.holds(1):
        return Cell(UNSURE, ends)
    said = f"{ratio.value:.2f}× faster" if ratio.value > 1 else f"{1 / ratio.value:.2f}× slower"
    other = ends if ratio.value > 1 else f"{1 / ratio.high:.2f} to {1 / ratio.low:.2f}, in turns with the original"
    return Cell(said, other, ratio.value > 1)


def _quality(about: Subject, one: Variant) -> Cell:
    name, shown = about.metric.name, column(about.metric.name)
    change = one.estimates.get(f"{name}{CHANGE}")
    if change is None:  # agreement with the original is a difference already
        return _figure(name, one)
    both = f"{shown.number(about.original[name].value)} → {shown.text(one[name].value)}"
    value, _, ends = difference(name, change).partition(" (")
    if change.holds(0):
        return Cell(UNSURE, f"{value} ({ends}; {both}")
    return Cell(value, f"{ends.rstrip(')')}; {both}", (change.value > 0) is about.metric.more_is_better)


def _figure(name: str, one: Variant) -> Cell:
    shown, estimate = column(name), one[name]
    return Cell(shown.text(estimate.value), _ends(name, estimate.low, estimate.high))


def _ends(name: str, low: float, high: float) -> str:
    """An interval; "" of what was counted."""
    return f"{column(name).number(low)} to {column(name).number(high)}" if low < high else ""


def _counted(name: str, original: Variant, one: Variant) -> Cell:
    before, after = original[name].value, one[name].value
    said = smaller(before, after) or "about the same"
    return Cell(said, f"{column(name).number(before)} → {column(name).text(after)}, counted", _less(before, after))


def _less(before: float, after: float) -> bool | None:
    return None if not smaller(before, after) else after < before


def figure_table(about: Subject, one: Variant) -> Table:
    """Every figure of the original and the chosen variant, what became of it, and how that is known."""
    known = drawable(about.frame)
    found = [each for each in figures(about.original, one) if each.name in known]
    first = [about.metric.name, f"{VALIDATION}{about.metric.name}", SPEED, LATENCY, *COLUMNS]
    changes = {each.name: _change(about, each) for each in found} | {LATENCY: Cell("–", "told by the speed-up")}
    order = sorted(changes, key=lambda name: first.index(name) if name in first else len(first))
    rows = tuple(
        Row(column(name).label, (changes[name], _figure(name, about.original), _figure(name, one))) for name in order
    )
    heads = (("Figure", ""), ("Change", "95 % interval, and how it is known"), ("Original", ""), (one.name, ""))
    return Table(heads, rows)


def _change(about: Subject, each: Contrast) -> Cell:
    if each.name in MODELLED:
        return Cell("–", MODELLED[each.name])
    before, after = each.first.value, each.second.value
    if each.how == EXACT:
        return Cell(smaller(before, after) or "about the same", each.how, _less(before, after))
    if each.change is None:
        return Cell("–", each.how)
    if each.name == SPEED:
        return Cell(speed(each.change), each.how, None if each.change.holds(1) else each.change.value > 1)
    said, sure = difference(each.name, each.change), bool(each.distinguishable)
    good = (each.change.value > 0) is more_is_better(about.frame, each.name) if sure else None
    return Cell(said if sure else f"{UNSURE}: {said}", each.how, good)


def class_table(classes: Classes, most: int) -> Table:
    """What it costs in every class; of many, in those that suffer most."""
    rows = tuple(
        Row(one.name, (_class_change(one), _share(one.before), _share(one.after)), f"{one.n:,} test inputs")
        for one in classes.rows[:most]
    )
    return Table((("Class", ""), ("Change", "points, on the same inputs"), ("Original", ""), ("Variant", "")), rows)


def _share(share: Estimate) -> Cell:
    return Cell(f"{100 * share.value:.2f} %", f"{100 * share.low:.2f} to {100 * share.high:.2f}")


def _class_change(one: ClassCost) -> Cell:
    said, _, ends = points(one.change).partition(" (")
    sure = not one.change.holds(0)
    return Cell(said, f"{ends.rstrip(')')}{'' if sure else f'; {UNSURE}'}", one.change.value > 0 if sure else None)


def layer_table(found: Sequence[Line]) -> Table:
    """Every layer's costs before and after, and what the recipe does to it."""
    heads = (("Layer", ""), *((column(name).label, column(name).unit) for name in COSTS), ("What the recipe does", ""))
    rows = tuple(
        Row(one.pair.name, (*(_cost(one, name) for name in COSTS), _done(one)), f"{one.kind}, {one.shape}")
        for one in found
    )
    return Table(heads, rows)


def _cost(line: Line, name: str) -> Cell:
    (before, after), shown = line.pair.cost(name), column(name)
    if before == after:
        return Cell(shown.number(before), "same")
    return Cell(f"{shown.number(before)} → {shown.number(after)}", smaller(before, after) if before and after else "")


def _done(line: Line) -> Cell:
    error = f"weight error {100 * line.error:.1f} %" if line.error is not None else ""
    return Cell("; ".join(line.actions), error)


def device_table(about: Subject, plan: Plan) -> Table:
    """Predicted milliseconds of both networks on every device that is known."""
    before, after = of_network(about.model.network), of_network(plan.network)
    rows = []
    for name in bundled():
        one, two = before.on(name), after.on(name)
        fits = Cell("fits" if two.fits else "does not fit", two.why, None if two.fits else False)
        rows.append(Row(two.device.title or name, (_ms(one.latency_ms), _ms(two.latency_ms), fits)))
    heads = (("Device", ""), ("Original", "ms, predicted"), ("Variant", "ms, predicted"), ("Memory of the variant", ""))
    return Table(heads, tuple(rows))


def _ms(value: float) -> Cell:
    return Cell("cannot compute it" if math.isnan(value) else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}")


def variant_table(about: Subject) -> Table:
    """One row a variant, each figure with its interval."""
    frame = about.frame
    name = about.metric.name
    names = [one for one in (name, f"{name}{CHANGE}", *TABLE) if one in frame and frame[one].notna().any()]
    rows = tuple(_row(about, record, names) for record in frame.to_dict("records"))
    return Table((("Variant", ""), *((column(one).label, column(one).unit) for one in names)), rows)


def _row(about: Subject, record: dict[Any, Any], names: Sequence[str]) -> Row:
    chosen = about.chosen is not None and record["id"] == about.chosen.id
    remarks = ["chosen" if chosen else "", "timed on another machine" if record["elsewhere"] else "", record["tags"]]
    cells = tuple(_cell(record, one) for one in names)
    return Row(record["name"], cells, ", ".join(one for one in remarks if one), record["id"])


def _cell(record: dict[Any, Any], name: str) -> Cell:
    value, shown = record[name], column(name)
    if pd.isna(value):
        return Cell("not measured")
    low, high = record.get(f"{name}_low", value), record.get(f"{name}_high", value)
    return Cell(shown.number(value), _ends(name, low, high))
