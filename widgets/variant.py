"""What the panel of the chosen variant shows: figures, warnings, another variant beside it, its export."""

from __future__ import annotations

from typing import Any

from workbench.charts import COLUMNS
from workbench.cost.by_layer import COSTS, Pair, pairs
from workbench.export import Manifest, formats
from workbench.variant import Variant
from workbench_widgets import rows
from workbench_widgets.page import View
from workbench_widgets.session import files
from workbench_widgets.store import State
from workbench_widgets.words import signed, times, verdict

FACTS = (
    "accuracy", "latency_ms", "speedup", "predicted_speedup", "macs", "params", "memory_access_bytes", "file_bytes",
    "compressed_bytes",
)  # fmt: skip
ELSEWHERE = "Measured elsewhere: its file is not here. Measure it on this machine to export it."


def variant(state: State) -> View:
    """The chosen variant: its figures against the original's, its warnings, its export."""
    chosen, original = state.variant(state.selected), state.original()
    if chosen is None or state.study is None:
        return {"id": "", "name": "", "empty": "Choose a variant in the table or the chart to see and export it."}
    is_original = original is None or chosen.id == original.id
    manifest = dict(state.exported).get(chosen.id)
    here = any(one.id == chosen.id for one in state.study.variants)
    return {
        "id": chosen.id,
        "name": chosen.name.capitalize() if is_original else chosen.name,
        "tag": "" if here else "measured elsewhere",
        "verdict": "" if original is None or is_original else verdict(chosen, original),
        "reason": chosen.verdict,
        "figures": [_fact(name, chosen, original) for name in FACTS if name in chosen.estimates],
        "notes": list(chosen.notes),
        "others": _others(state),
        "compared": state.compared,
        "comparison": _comparison(chosen, state.variant(state.compared)),
        "formats": formats() if here else [],
        "missing": "" if here else ELSEWHERE,
        "exporting": state.exporting == chosen.id,
        "exported": None if manifest is None else _export(manifest),
    }


def _fact(name: str, chosen: Variant, original: Variant | None) -> dict[str, str]:
    estimate, shown = chosen[name], COLUMNS[name]
    exact = estimate.low == estimate.high
    fact = {
        "label": shown.label,
        "text": shown.text(estimate.value),
        "interval": "" if exact else f"{shown.number(estimate.low)} to {shown.number(estimate.high)}",
        "change": "",
        "trend": "",
    }
    # Milliseconds of two separate runs do not compare: the speed-up, measured in turns, is their comparison.
    if original is None or original.id == chosen.id or name in {"latency_ms", "speedup", "predicted_speedup"}:
        return fact
    change, trend = _change(name, original, chosen)
    return fact | {"change": change, "trend": trend}


def _change(name: str, before: Variant, after: Variant) -> tuple[str, str]:
    one, two = before[name], after[name]
    if name == "accuracy":
        return f"{signed(100 * (two.value - one.value))} points", ""
    return times(one.value, two.value)


def _others(state: State) -> list[dict[str, str]]:
    frame = rows.everything(state)
    if frame.empty:
        return []
    pairs = zip(frame["id"], frame["name"], strict=True)
    return [{"id": key, "name": name} for key, name in pairs if key != state.selected]


def _comparison(one: Variant, two: Variant | None) -> View | None:
    """Only what differs: the steps, the figures, the layers."""
    if two is None or one.id == two.id:
        return None
    figures = [row for name in FACTS if (row := _different(name, one, two)) is not None]
    layers = _layers(one, two)
    return {
        "names": [one.name, two.name],
        "recipe": _steps(one, two),
        "figures": figures,
        "columns": [COLUMNS[name].label for name in COSTS],
        "layers": layers,
        "same": "" if layers else "Every layer costs the same in both.",
    }


def _steps(one: Variant, two: Variant) -> list[dict[str, str]]:
    return [
        {"only": variant.name, "step": step.expression().removeprefix("wb.")}
        for variant, other in ((one, two), (two, one))
        for step in variant.recipe
        if step not in other.recipe.steps
    ]


def _different(name: str, one: Variant, two: Variant) -> dict[str, str] | None:
    if name not in one.estimates or name not in two.estimates or one[name].value == two[name].value:
        return None
    shown, overlap = COLUMNS[name], one[name].overlaps(two[name])
    change, trend = ("not distinguishable", "") if overlap else _change(name, one, two)
    if name.endswith("speedup"):
        change, trend = (change, trend) if overlap else (f"{two[name].value / one[name].value:.2f}×", "")
    return {
        "label": shown.label, "one": shown.text(one[name].value), "two": shown.text(two[name].value),
        "change": change, "trend": trend,
    }  # fmt: skip


def _layers(one: Variant, two: Variant) -> list[dict[str, Any]]:
    """The layers that cost something else, by the shapes that the two recipes give them."""
    original = one.model.network
    sides = [{pair.name: pair for pair in pairs(original, v.recipe.network(v.model))} for v in (one, two)]
    none = Pair("", None, ())
    found = []
    for name in {**sides[0], **sides[1]}:
        costs = [[side.get(name, none).cost(cost)[1] for side in sides] for cost in COSTS]
        if any(a != b for a, b in costs):
            texts = [_pair(cost, *values) for cost, values in zip(COSTS, costs, strict=True)]
            found.append({"layer": name, "cells": texts})
    return found


def _pair(cost: str, a: int, b: int) -> str:
    shown = COLUMNS[cost]
    return shown.text(a) if a == b else f"{shown.number(a)} → {shown.text(b)}"


def _export(manifest: Manifest) -> dict[str, Any]:
    checked = manifest.verified
    return {
        "key": manifest.created,
        "sentence": f"Verified: the file was read back and gets {checked['accuracy']:.2%} of the test images right.",
        "folder": str(manifest.path),
        "files": [{"name": name, "bytes": size, "size": _size(size)} for name, size in files(manifest).items()],
    }


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
