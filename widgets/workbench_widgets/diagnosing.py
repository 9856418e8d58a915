"""What the panel of a diagnosis shows: the error of every layer, who suffers, and which layers to restore."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from workbench import charts
from workbench.diagnosis import Bisection, Diagnosis
from workbench.models import Model
from workbench.recipe import Recipe
from workbench_widgets.pictures import pictures
from workbench_widgets.seam.cells import HeatCell
from workbench_widgets.seam.diagnosis_view import BisectionView, ClassDrop, DiagnosisView, Found
from workbench_widgets.store import State

EMPTY = "Choose a variant that was measured here. Its diagnosis says which layer, step and class lost what."
NOTHING: Found = {"chart": None, "layers": [], "steps": [], "classes": [], "pictures": None}
WORST, BEST = 0.0, 50.0  # dB between which cells are shaded


def diagnosis(state: State) -> DiagnosisView:
    """The chosen variant's diagnosis and bisection, as far as they were asked for."""
    chosen = state.variant(state.selected)
    here = chosen is not None and state.study is not None and any(one.id == chosen.id for one in state.study.variants)
    if chosen is None or not here or not chosen.recipe.steps:
        return {**NOTHING, "id": "", "name": "", "empty": EMPTY, "busy": False, "sentences": [], "bisection": None}
    found, halved = dict(state.diagnoses).get(chosen.id), dict(state.bisections).get(chosen.id)
    return {
        "id": chosen.id,
        "name": chosen.name,
        "empty": "" if found or halved else f"{chosen.name} has not been diagnosed yet.",
        "busy": any(not job.done for job in state.jobs),
        "sentences": str(found).splitlines() if found else [],
        **(_found(found, _changed(chosen.recipe, chosen.model)) if found else NOTHING),
        "bisection": _bisection(halved) if halved else None,
    }


@lru_cache(maxsize=8)
def _changed(recipe: Recipe, model: Model) -> frozenset[str]:
    """The layers that can be restored; the others were left alone."""
    return frozenset(recipe.changed(model))


def _found(found: Diagnosis, changed: frozenset[str]) -> Found:
    spec = charts.layer_errors(found.layers).to_dict()
    rows = spec.pop("datasets")[spec["data"]["name"]]
    spec["data"] = {"name": "errors", "values": []}
    shown = f"{len(found.compared)} of {len(found.errors)} layers"
    summary = f"Signal over error of {shown}, in decibels; the table below has every figure."
    return {
        "chart": {"spec": spec, "rows": rows, "summary": summary},
        "layers": [
            {
                "layer": one.layer, "operator": one.operator, "note": one.note, "changed": one.layer in changed,
                "cells": [_decibels(one.sqnr_db), _decibels(one.own_sqnr_db), _percent(one.clipped)],
            }
            for one in found.errors
        ],
        "steps": [
            {"step": one.step, "score": f"{100 * one.score.value:.2f} %", "drop": _points(one.drop)}
            for one in found.prefixes
        ],
        "classes": _classes(found),
        "pictures": pictures(found) if found.answers else None,
    }  # fmt: skip


def _classes(found: Diagnosis) -> list[ClassDrop]:
    """The five classes that lost most."""
    if found.answers is None:
        return []
    table = found.classes.head(5)
    return [
        {
            "name": str(row["name"]),
            "drop": f"{-100 * row['drop']:+.1f}".replace("-", "−"),
            "taken": str(row["taken_for"]) or "–",
        }
        for _, row in table.iterrows()
    ]


def _bisection(found: Bisection) -> BisectionView:
    return {
        "sentences": str(found).splitlines(),
        "layers": list(found.layers),
        "trials": [
            {"restored": ", ".join(one.restored) or "nothing", "left": _points(one.left) if one.left else one.note}
            for one in found.trials
        ],
    }


def _points(drop: Any) -> str:
    """A loss in points with its interval."""
    low, value, high = (f"{100 * one:.2f}".replace("-", "−") for one in (drop.low, drop.value, drop.high))
    return f"{value} points ({low} to {high})"


def _decibels(value: float) -> HeatCell:
    if math.isnan(value):
        return {"value": None, "text": "–", "heat": 0}
    if math.isinf(value):
        return {"value": 999.0, "text": "exact", "heat": 0}
    badness = min(1.0, max(0.0, (BEST - value) / (BEST - WORST)))
    return {"value": round(value, 2), "text": f"{value:.1f} dB".replace("-", "−"), "heat": round(badness, 3)}


def _percent(value: float) -> HeatCell:
    if math.isnan(value):
        return {"value": None, "text": "–", "heat": 0}
    return {"value": value, "text": f"{100 * value:.2f} %", "heat": round(min(1.0, 20 * value), 3)}
