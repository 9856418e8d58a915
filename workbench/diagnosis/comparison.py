"""Two variants of one study side by side: what differs between them, from the recipe down to single images."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.cost.by_layer import COSTS, Pair, pairs
from workbench.diagnosis.answers import Answers
from workbench.diagnosis.bench import Bench
from workbench.diagnosis.diagnose import IMAGES
from workbench.diagnosis.layers import LayerError, layer_errors
from workbench.errors import BadValue
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from workbench.variant import Variant

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Contrast:
    """One figure of two variants. `overlap`: their intervals share a point, so they are not distinguishable."""

    name: str
    first: Estimate
    second: Estimate

    @property
    def overlap(self) -> bool:
        """True where the difference is not distinguishable."""
        return self.first.overlaps(self.second)


def figures(first: Variant, second: Variant) -> list[Contrast]:
    """The figures that both have and that are not the same."""
    both = [name for name in first.estimates if name in second.estimates]
    found = [Contrast(name, first[name], second[name]) for name in both]
    return [one for one in found if one.first.value != one.second.value]


def steps(first: Variant, second: Variant) -> list[tuple[Variant, str]]:
    """The steps that one of them has alone, each with whose it is, as Python."""
    return [
        (mine, step.expression().removeprefix("wb."))
        for mine, other in ((first, second), (second, first))
        for step in mine.recipe
        if step not in other.recipe.steps
    ]


def layers(first: Variant, second: Variant) -> dict[str, dict[str, tuple[int, int]]]:
    """Each of `COSTS` in both, for the layers of the original that cost something else, by the recipes' shapes."""
    original = first.model.network
    sides = [{pair.name: pair for pair in pairs(original, v.recipe.network(v.model))} for v in (first, second)]
    none = Pair("", None, ())
    found = {}
    for name in {**sides[0], **sides[1]}:
        one, two = (side.get(name, none).costs for side in sides)
        costs = {cost: (one[cost][1], two[cost][1]) for cost in COSTS}
        if any(a != b for a, b in costs.values()):
            found[name] = costs
    return found


@dataclass(frozen=True)
class Comparison:
    """What two variants do otherwise than one another, on the same images of one split.

    `errors`: each variant's layers against the original's. `answers` holds the first variant where a diagnosis
    holds the original; None where the outputs are no classification.
    """

    first: Variant = field(repr=False)
    second: Variant = field(repr=False)
    split: str
    errors: tuple[tuple[LayerError, ...], tuple[LayerError, ...]] = field(repr=False)
    answers: Answers | None = field(repr=False)

    @cached_property
    def figures(self) -> pd.DataFrame:
        """One row a figure that differs. Columns: `figure`, `first`, `second` with `_low` and `_high`, `overlap`."""
        import pandas as pd

        rows = []
        for one in figures(self.first, self.second):
            ends = {f"first{end}": value for end, value in _ends(one.first)}
            ends |= {f"second{end}": value for end, value in _ends(one.second)}
            rows.append({"figure": one.name, **ends, "overlap": one.overlap})
        names = [f"{side}{end}" for side in ("first", "second") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=["figure", *names, "overlap"])

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row a layer that differs. Columns: `layer`, each cost and `own_sqnr_db` with `_first` and `_second`."""
        import pandas as pd

        costs, noise = layers(self.first, self.second), self.noise
        order = [one.layer for one in self.errors[0]]
        rows = []
        for name in sorted({*costs, *noise}, key=lambda one: order.index(one) if one in order else len(order)):
            row: dict[str, Any] = {"layer": name}
            for key, pair in {**costs.get(name, {}), "own_sqnr_db": noise.get(name, (np.nan, np.nan))}.items():
                row |= {f"{key}_first": pair[0], f"{key}_second": pair[1]}
            rows.append(row)
        names = [f"{key}_{side}" for key in (*COSTS, "own_sqnr_db") for side in ("first", "second")]
        return pd.DataFrame(rows, columns=["layer", *names])

    @cached_property
    def noise(self) -> dict[str, tuple[float, float]]:
        """The signal over its own error of each layer in both, in dB, where it is not the same."""
        one, two = ({e.layer: e.own_sqnr_db for e in side} for side in self.errors)
        both = {name: (value, two[name]) for name, value in one.items() if name in two}
        return {name: pair for name, pair in both.items() if not np.array_equal(pair[0], pair[1], equal_nan=True)}

    @cached_property
    def classes(self) -> pd.DataFrame:
        """The classes that the two get right unequally often, the greatest loss first. See `Answers.by_class`."""
        table = self._answers().by_class()
        return table[table["before"] != table["after"]].reset_index(drop=True)

    @cached_property
    def flips(self) -> pd.DataFrame:
        """The images that the two answer differently. See `Answers.flips`."""
        return self._answers().flips()

    def images(self, count: int = 24, change: str | None = None) -> tuple[Array, pd.DataFrame]:
        """Inputs (n, C, H, W) of the first `count` of `flips`, and their rows. See `Diagnosis.images`."""
        return self._answers().pick(self.first.data[self.split].inputs, count, change)

    def __str__(self) -> str:
        lines = [f"{self.second.name} against {self.first.name}, on the {self.split} split."]
        if self.answers is None:
            return lines[0]
        drop, n = self.answers.drop, len(self.answers.labels)
        more = "more" if drop.value < 0 else "fewer"
        interval = f"{100 * drop.low:+.2f} to {100 * drop.high:+.2f} points lost"
        unsure = "; that is not distinguishable from none" if drop.low <= 0 <= drop.high else ""
        lines.append(f"It gets {abs(drop.value):.2%} of the images {more} right ({interval}){unsure}.")
        counts = self.flips["change"].value_counts()
        lost, gained = counts.get("lost", 0), counts.get("gained", 0)
        lines.append(f"{len(self.flips)} of {n} answers differ: {lost} right ones are lost, {gained} gained.")
        return "\n".join(lines)

    def _answers(self) -> Answers:
        if self.answers is None:
            raise BadValue(
                f"{self.first.model.name} returns no classes (N, classes) on these data, so there are no answers to "
                "compare. The figures and layers are there."
            )
        return self.answers


def compare(first: Variant, second: Variant, bench: Bench, report: Reporter | None = None) -> Comparison:
    """Compare two variants that have been run on the bench's split.

    Raises: `BadValue` without such a split, or for a variant and itself; `Cancelled`.
    """
    if first.id == second.id:
        raise BadValue(f"{first.name} is compared with itself. Choose two variants.")
    report, original = report or Reporter(), bench.known(Recipe())
    assert original is not None  # a study measures it before any variant
    few = bench.split.inputs[:IMAGES]
    parts = (report.part(0.0, 0.15), report.part(0.15, 0.3))
    errors = [tuple(layer_errors(original, v.onnx, few, part)) for v, part in zip((first, second), parts, strict=True)]
    one, two = bench.outputs(first.recipe, report.part(0.3, 0.65)), bench.outputs(second.recipe, report.part(0.65, 1.0))
    classes = one.ndim == 2 and np.isfinite(one).all() and np.isfinite(two).all()
    labels = bench.labels if bench.labels is not None else bench.original.argmax(axis=1)
    answers = Answers(one, two, labels, tuple(bench.data.classes)) if classes else None
    return Comparison(first, second, bench.split_name, (errors[0], errors[1]), answers)


def _ends(estimate: Estimate) -> list[tuple[str, float]]:
    return [("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)]
