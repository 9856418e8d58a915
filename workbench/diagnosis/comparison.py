"""Two variants of one study side by side: what differs between them, from the recipe down to single images."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.cost.by_layer import COSTS, Pair, pairs
from workbench.diagnosis.answers import Answers
from workbench.diagnosis.diagnose import IMAGES
from workbench.diagnosis.evaluator import Evaluator
from workbench.diagnosis.layer_errors import LayerError, layer_errors
from workbench.errors import BadValue, MeasurementFailed
from workbench.estimate import Estimate, exact, mcnemar, paired_change, quotient
from workbench.jobs import Reporter
from workbench.measure.evaluation import CHANGE
from workbench.measure.latency import measure_latency
from workbench.measure.wording import quality, speed
from workbench.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from workbench.variant import Finished, Variant

Array = npt.NDArray[Any]

SPEED, LATENCY = "speedup", "latency_ms"
SAME_INPUTS, EXACT, MEASURED_APART = "on the same inputs", "counted", "measured apart"
IN_TURNS, THROUGH_ORIGINAL = "timed in turns", "each timed in turns with the original"
OTHER_MACHINE = "timed on different machines"


@dataclass(frozen=True)
class Contrast:
    """One figure of two variants, and what becomes of it from the first to the second.

    `change` is a difference, for the speed-up how many times faster the second is; None where no interval of it is
    known, since the two were measured apart. `how` says what the change is based on.
    """

    name: str
    first: Estimate
    second: Estimate
    change: Estimate | None
    how: str

    @property
    def distinguishable(self) -> bool | None:
        """Whether the interval of the change leaves out none; None where no interval is known."""
        return None if self.change is None else not self.change.holds(1 if self.name == SPEED else 0)


def figures(first: Finished, second: Finished, ratio: Estimate | None = None) -> list[Contrast]:
    """The figures that both have, each compared on the same inputs or in turns; none that was counted and is the same.

    `ratio` is how many times faster the second runs where the two were timed in turns; without it, it follows from
    both speed-ups. Milliseconds are left out: those of two separate measurements do not compare.
    """
    both = [name for name in first.estimates if name in second.estimates and name != LATENCY]
    known = [name for name in both if not name.endswith(CHANGE)]  # what differs from the original differs here
    found = [_contrast(name, first, second, ratio) for name in known]
    return [one for one in found if one.how == SAME_INPUTS or one.first.value != one.second.value]


def change(first: Finished, second: Finished, name: str) -> Estimate | None:
    """What becomes of a figure from one variant to another on the same inputs; None where that was not kept."""
    before, after = first.samples.get(name), second.samples.get(name)
    return None if before is None or after is None or before.n != after.n else before.change_to(after)


def times_faster(first: Finished, second: Finished) -> Estimate | None:
    """How many times faster the second runs than the first, from their ratios to the original, each taken in turns.

    None where they were measured on different machines.
    """
    if first.machine != second.machine:
        return None
    return quotient(second["speedup"], first["speedup"])


def _contrast(name: str, first: Finished, second: Finished, ratio: Estimate | None) -> Contrast:
    one, two = first[name], second[name]
    if name == SPEED:
        derived = times_faster(first, second)
        how = IN_TURNS if ratio else THROUGH_ORIGINAL if derived else OTHER_MACHINE
        return Contrast(name, one, two, ratio or derived, how)
    if one.low == one.high and two.low == two.high and name not in first.samples:
        return Contrast(name, one, two, exact(two.value - one.value, one.unit), EXACT)
    paired = change(first, second, name)
    return Contrast(name, one, two, paired, MEASURED_APART if paired is None else SAME_INPUTS)


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
    sides = [{pair.name: pair for pair in pairs(original, v.recipe.plan(v.model).network)} for v in (first, second)]
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
    holds the original; None where the outputs are no classification. `ratio`: how many times faster the second runs,
    timed in turns; None where it could not be timed.
    """

    first: Variant = field(repr=False)
    second: Variant = field(repr=False)
    split: str
    errors: tuple[tuple[LayerError, ...], tuple[LayerError, ...]] = field(repr=False)
    answers: Answers | None = field(repr=False)
    ratio: Estimate | None = None
    metric_name: str = "accuracy"  # what answers are counted by: agreement where there are no labels

    @cached_property
    def figures(self) -> pd.DataFrame:
        """One row a figure, but for counted ones that are the same.

        Columns: `figure`; `first`, `second` and the paired `change`, each with `_low` and `_high` (of the speed-up the
        change is a ratio); `distinguishable`, None where no interval of the change is known; `how` it is known.
        """
        import pandas as pd

        rows = []
        for one in figures(self.first, self.second, self.ratio):
            sides = {"first": one.first, "second": one.second} | ({"change": one.change} if one.change else {})
            ends = {f"{side}{end}": value for side, known in sides.items() for end, value in _ends(known)}
            rows.append({"figure": one.name, **ends, "distinguishable": one.distinguishable, "how": one.how})
        names = [f"{side}{end}" for side in ("first", "second", "change") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=["figure", *names, "distinguishable", "how"])

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
        return self._answers().pick(self.first.data[self.split], count, change)

    def __str__(self) -> str:
        lines = [f"{self.second.name} against {self.first.name}, on the {self.split} split."]
        if self.answers is not None:
            lines += self._answered(self.answers)
        if self.ratio is not None:
            lines.append(f"{_capital(speed(self.ratio, self.first.name))}, {IN_TURNS}.")
        return "\n".join(lines)

    def _answered(self, answers: Answers) -> list[str]:
        counts = self.flips["change"].value_counts()
        lost, gained = int(counts.get("lost", 0)), int(counts.get("gained", 0))
        change = paired_change(lost, gained, len(answers.labels))
        return [
            f"{_capital(quality(change, self.metric_name))}, on the same images.",
            f"{len(self.flips)} of {change.n} answers differ: {lost} right ones are lost, {gained} gained "
            f"(McNemar's exact test: p = {mcnemar(lost, gained):.2g}).",
        ]

    def _answers(self) -> Answers:
        if self.answers is None:
            raise BadValue(
                f"{self.first.model.name} returns no classes (N, classes) on these data, so there are no answers to "
                "compare. The figures and layers are there."
            )
        return self.answers


def compare(first: Variant, second: Variant, evaluator: Evaluator, report: Reporter | None = None) -> Comparison:
    """Compare two variants that have been run on the evaluator's split.

    Raises: `BadValue` without such a split, or for a variant and itself; `Cancelled`.
    """
    if first.id == second.id:
        raise BadValue(f"{first.name} is compared with itself. Choose two variants.")
    report, original = report or Reporter(), evaluator.known(Recipe())
    assert original is not None  # a study measures it before any variant
    few = evaluator.split.first(IMAGES)
    parts = (report.part(0.0, 0.15), report.part(0.15, 0.3))
    errors = [tuple(layer_errors(original, v.onnx, few, part)) for v, part in zip((first, second), parts, strict=True)]
    one = evaluator.outputs(first.recipe, report.part(0.3, 0.6))
    two = evaluator.outputs(second.recipe, report.part(0.6, 0.9))
    classes = evaluator.chooses and np.isfinite(one).all() and np.isfinite(two).all()
    labels = evaluator.labels if evaluator.labels is not None else evaluator.original.argmax(axis=1)
    answers = Answers(one, two, labels, tuple(evaluator.data.classes)) if classes else None
    ratio = _in_turns(first, second, report.part(0.9, 1.0))
    name, both = evaluator.metric_name, (errors[0], errors[1])
    return Comparison(first, second, evaluator.split_name, both, answers, ratio, name)


def _in_turns(first: Variant, second: Variant, report: Reporter) -> Estimate | None:
    """How many times faster the second runs here; None on a machine that is too slow or too busy to tell."""
    try:
        return measure_latency(second.onnx, first.onnx, progress=report).speedup
    except MeasurementFailed:
        return None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ends(estimate: Estimate) -> list[tuple[str, float]]:
    return [("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)]
