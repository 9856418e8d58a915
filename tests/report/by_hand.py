"""Variants with figures and marks that were written by hand: what a report says of them is known beforehand."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tiny import SHAPE, tiny_model

import workbench as wb
from workbench.data import Data
from workbench.estimate import Estimate, exact
from workbench.measure.paired import Sample
from workbench.models import Model
from workbench.recipe import Recipe, as_recipe
from workbench.step import Step
from workbench.studies.naming import Label, Names
from workbench.tasks import recognise, seen_of
from workbench.variant import Variant

INPUTS = 400
#: Counted figures of the original; a variant has some share of them.
COUNTED = {"macs": 9e4, "params": 700, "memory_access_bytes": 4e4, "peak_activation_bytes": 2e4, "file_bytes": 9000,
           "compressed_bytes": 8000, "energy_uj": 3.0, "run_memory_bytes": 2e7}  # fmt: skip


@cache
def model() -> Model:
    return tiny_model()


@cache
def data() -> Data:
    inputs, classes = torch.randn(INPUTS, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.arange(INPUTS) % 4
    given = wb.data(dict.fromkeys(("train", "test"), (inputs, classes)), name="tiny", classes=tuple("abcd"))
    return replace(given, task=recognise(seen_of(model().module, model().example, given["test"]), None, None))


def labels() -> np.ndarray:
    return data()["test"].labels.numpy()


def wrong_on(*places: int) -> np.ndarray:
    """Marks of every test input, right but for these."""
    marks = np.ones(INPUTS, bool)
    marks[list(places)] = False
    return marks


def variant(
    recipe: Recipe | Step,
    speedup: tuple[float, float, float] = (2.0, 1.9, 2.1),
    *,
    test: np.ndarray | None = None,
    validation: float | None = 1.0,
    share: float = 0.5,
    **other: object,
) -> Variant:
    """A variant that is so fast, right on these test inputs, and has so large a share of the original's costs."""
    recipe = as_recipe(recipe)
    marks = wrong_on() if test is None else test
    found, original = Sample.of_marks(marks), Sample.of_marks(wrong_on())
    estimates = {
        "accuracy": found.estimate,
        "accuracy_change": original.change_to(found),
        "latency_ms": Estimate(1 / speedup[0], 0.9 / speedup[0], 1.1 / speedup[0], 30, "ms"),
        "speedup": Estimate(*speedup, 30),
        "predicted_speedup": exact(1.7 if recipe.steps else 1.0),
        **{name: exact(value * share) for name, value in COUNTED.items()},
    }
    if validation is not None:
        estimates["validation_accuracy"] = Estimate(validation, validation - 0.01, validation + 0.01, 80)
    made = Variant(
        id=hashlib.sha256(str(recipe.to_list()).encode()).hexdigest()[:12], recipe=recipe, estimates=estimates,
        artefact=Path("nowhere"), weights=Path("nowhere"), written={"accuracy": found.write()}, model=model(),
        data=data(), created="2026-11-26T10:00:00", verdict="Measured as predicted.", machine="one",
    )  # fmt: skip
    return replace(made, **other)


def original(**other: object) -> Variant:
    return variant(Recipe(), (1.0, 1.0, 1.0), share=1.0, **other)


def several(count: int) -> list[Variant]:
    """The original and others, each a little faster and less accurate than the one before."""
    found = [original()]
    for n in range(1, count):
        ratio = 1 + n / 20
        interval = (ratio, ratio - 0.02, ratio + 0.02)
        found.append(variant(wb.SVD(round(1 - n / 100, 2)), interval, test=wrong_on(*range(n)), validation=1 - n / 300))
    return found


def labelled(one: Variant, label: Label) -> Variant:
    """With what a user wrote on it."""
    names = Names()
    names.labels[one.id] = label
    names.update({one.id: one.recipe})
    return replace(one, names=names)
