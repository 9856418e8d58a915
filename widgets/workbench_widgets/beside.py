"""What any number of variants side by side show: figures, layers, classes and images, each compared with the first."""

from __future__ import annotations

from workbench.charts import COLUMNS, column
from workbench.diagnosis import Comparison
from workbench.diagnosis.comparison import Contrast, figures, layers
from workbench.estimate import Estimate
from workbench.measure.evaluation import CHANGE
from workbench.recipe import Recipe
from workbench.variant import Variant
from workbench_widgets import rows
from workbench_widgets.comparing import MISSING, change_of
from workbench_widgets.formatting import times
from workbench_widgets.pictures import pictures
from workbench_widgets.seam.beside_view import BesideCell, BesideImages, BesideRow, BesideView
from workbench_widgets.store import State

EMPTY = "Tick two variants or more in the table, and they stand here side by side."
#: Milliseconds of two separate runs do not compare: the speed-up, measured in turns, is their comparison.
APART = frozenset({"latency_ms", "predicted_speedup"})


def beside(state: State) -> BesideView:
    """The ticked variants, the first as what the others are compared with."""
    chosen = [one for one in map(state.variant, state.beside) if one is not None]
    if len(chosen) < 2 or state.study is None:
        return NOTHING | {"variants": [{"id": one.id, "name": one.name} for one in chosen]}
    found = _comparisons(state, chosen)
    here = {one.id for one in state.study.variants}
    return {
        "variants": [{"id": one.id, "name": one.name} for one in chosen],
        "empty": "",
        "figures": _figures(state, chosen, found),
        "cost": COLUMNS[state.cost].label,
        "layers": _layers(state, chosen),
        "classes": _classes(chosen, found),
        "images": [_images(one, found[one.id]) for one in chosen[1:] if one.id in found],
        "missing": "" if {one.id for one in chosen} <= here else MISSING,
        "busy": any(not job.done for job in state.jobs),
        "asked": len(found) == len(chosen) - 1,
    }


NOTHING = BesideView(
    variants=[], empty=EMPTY, figures=[], cost="", layers=[], classes=[], images=[], missing="", busy=False, asked=False
)


def _comparisons(state: State, chosen: list[Variant]) -> dict[str, Comparison]:
    """What is known of the answers of each against the first."""
    known, first = dict(state.comparisons), chosen[0]
    pairs = ((one.id, known.get((first.id, one.id))) for one in chosen[1:])
    return {key: comparison for key, comparison in pairs if comparison is not None}


def _figures(state: State, chosen: list[Variant], found: dict[str, Comparison]) -> list[BesideRow]:
    first, others = chosen[0], chosen[1:]
    names = [name for name in (*rows.judged_by(state), *COLUMNS) if not name.endswith(CHANGE)]
    wanted = [name for name in names if any(name in one.estimates for one in chosen)]
    contrasts = {
        one.id: {c.name: c for c in figures(first, one, found[one.id].ratio if one.id in found else None)}
        for one in others
    }
    return [
        {
            "label": column(name).label,
            "cells": [_figure(name, one, contrasts.get(one.id, {}).get(name), state) for one in chosen],
        }
        for name in dict.fromkeys(wanted)
    ]


def _figure(name: str, variant: Variant, contrast: Contrast | None, state: State) -> BesideCell:
    if name not in variant.estimates:
        return {"text": "not measured", "sub": "", "change": "", "trend": ""}
    estimate, shown = variant[name], column(name)
    said, way = change_of(contrast, state.frame) if contrast is not None and name not in APART else ("", "")
    return {"text": shown.text(estimate.value), "sub": _interval(name, estimate), "change": said, "trend": way}


def _interval(name: str, estimate: Estimate) -> str:
    shown = column(name)
    exact = estimate.low == estimate.high
    return "" if exact else f"{shown.number(estimate.low)} to {shown.number(estimate.high)}"


def _layers(state: State, chosen: list[Variant]) -> list[BesideRow]:
    """The layers of which any costs something else than in the first, in the cost that the layers' chart shows."""
    shown, first = COLUMNS[state.cost], chosen[0]
    costs = {one.id: layers(first, one) for one in chosen[1:]}
    own = {pair.name: pair.cost(state.cost)[1] for pair in first.recipe.plan(first.model).pairs}
    order = [pair.name for pair in Recipe().plan(first.model).pairs]
    differing = {name for one in costs.values() for name, both in one.items() if len(set(both[state.cost])) > 1}
    found: list[BesideRow] = []
    for name in sorted(differing, key=lambda one: order.index(one) if one in order else len(order)):
        before = own.get(name, 0)
        after = [costs[one.id][name][state.cost][1] if name in costs[one.id] else before for one in chosen[1:]]
        cells = [BesideCell(text=shown.text(before), sub="", change="", trend="")]
        for value in after:
            said, way = times(before, value)
            cells.append({"text": shown.text(value), "sub": "", "change": said, "trend": way})
        found.append({"label": name, "cells": cells})
    return found


def _classes(chosen: list[Variant], found: dict[str, Comparison]) -> list[BesideRow]:
    """How many of each class are right, where any of them differs from the first."""
    tables = {
        one.id: found[one.id].answers.by_class().set_index("label")  # type: ignore[union-attr]  # asked in the condition
        for one in chosen[1:]
        if one.id in found and found[one.id].answers is not None
    }
    if not tables:
        return []
    some = next(iter(tables.values()))
    names = [n for n in some.index if any(_at(one, n, "before") != _at(one, n, "after") for one in tables.values())]
    return [
        {
            "label": str(some.at[name, "name"]),
            "cells": [_share(_at(some, name, "before")), *(_class(tables.get(one.id), name) for one in chosen[1:])],
        }
        for name in names
    ]


def _class(table: object, name: object) -> BesideCell:
    if table is None:
        return {"text": "–", "sub": "", "change": "", "trend": ""}
    drop, low, high = (_at(table, name, key) for key in ("drop", "drop_low", "drop_high"))
    cell = _share(_at(table, name, "after"))
    if not drop:
        return {**cell, "change": "same"}
    trend = "wb-worse" if low > 0 else "wb-better" if high < 0 else ""
    said = f"{'−' if drop > 0 else '+'}{100 * abs(drop):.1f} points{'' if trend else ', not distinguishable'}"
    return {**cell, "change": said, "trend": trend}


def _at(table: object, name: object, key: str) -> float:
    return float(table.at[name, key])  # type: ignore[attr-defined]  # a frame


def _share(value: float) -> BesideCell:
    return {"text": f"{100 * value:.1f} %", "sub": "", "change": "", "trend": ""}


def _images(variant: Variant, found: Comparison) -> BesideImages:
    return {
        "name": variant.name,
        "sentences": str(found).splitlines(),
        "pictures": pictures(found) if found.answers is not None else None,
    }
