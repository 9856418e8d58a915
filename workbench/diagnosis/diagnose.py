"""`diagnose`: one variant against its original, from the layers up to the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.diagnosis.answers import Answers
from workbench.diagnosis.evaluator import Evaluator, loss, mean_score
from workbench.diagnosis.layer_errors import LayerError, layer_errors, to_frame
from workbench.errors import BadValue
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.divergence import Divergence, apart, summarise
from workbench.measure.wording import UNSURE, lost
from workbench.recipe import Recipe
from workbench.step import Layers

if TYPE_CHECKING:
    import pandas as pd

    from workbench.variant import Variant

Array = npt.NDArray[Any]

#: The layers' results are compared on this many images: their errors hardly differ from image to image.
IMAGES = 256


@dataclass(frozen=True)
class Prefix:
    """A recipe up to one of its steps: the score, and what this step lost of it."""

    step: str
    score: Estimate
    drop: Estimate


@dataclass(frozen=True)
class Diagnosis:
    """What a variant does otherwise than its original, on the same images of one split.

    `drop`: what it loses of `metric_name`, which is accuracy, agreement with the original where answers are of another
    kind or have no labels, or nearness to the original's outputs where these are values. `divergence`: agreement,
    Kullback-Leibler divergence and error of the outputs.
    """

    variant: Variant = field(repr=False)
    split: str
    metric_name: str
    drop: Estimate
    divergence: Divergence
    errors: tuple[LayerError, ...] = field(repr=False)
    prefixes: tuple[Prefix, ...] = field(repr=False)
    answers: Answers | None = field(repr=False)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row a layer of the original, in execution order; the columns are the fields of `LayerError`."""
        return to_frame(list(self.errors))

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row a step of the recipe, after the original: the score up to it, and the drop against the row before."""
        import pandas as pd

        rows = [
            (p.step, p.score.value, p.score.low, p.score.high, p.drop.value, p.drop.low, p.drop.high)
            for p in self.prefixes
        ]
        ends = [f"{name}{end}" for name in (self.metric_name, "drop") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=["step", *ends])

    @cached_property
    def classes(self) -> pd.DataFrame:
        """The accuracy of every class, that which suffers most first. See `Answers.by_class`."""
        return self._answers().by_class()

    @cached_property
    def flips(self) -> pd.DataFrame:
        """The images whose answer changed. See `Answers.flips`."""
        return self._answers().flips()

    @cached_property
    def confidence(self) -> pd.DataFrame:
        """How sure both networks are of their answers. See `Answers.confidence`."""
        return self._answers().confidence()

    def images(self, count: int = 24, change: str | None = None) -> tuple[Array, pd.DataFrame]:
        """Inputs (n, C, H, W) of the first `count` images whose answer changed, and their rows of `flips`.

        `change` limits them to "lost", "gained" or "other".
        """
        return self._answers().pick(self.variant.data[self.split], count, change)

    def restore(self, layers: Layers) -> Recipe:
        """The variant's recipe with these layers left as they are in the original. Raises as `Recipe.without`."""
        return self.variant.recipe.without(layers, self.variant.model)

    def __str__(self) -> str:
        lines = [f"{self.variant.name} {lost(self.drop, self.metric_name)} on the {self.split} split."]
        if self.drop.holds(0):
            lines[0] += f" That is {UNSURE} from nothing."
        worst = max(self.prefixes[1:], key=lambda one: one.drop.value, default=None)
        if worst is not None and len(self.prefixes) > 2 and worst.drop.low > 0:
            lines.append(f"Most of it goes with {worst.step}: {worst.drop.value:.2%}.")
        lines.extend(self._noisiest())
        if self.answers is not None:
            lines.extend(_worst_class(self.classes))
            counts = self.flips["change"].value_counts()
            right, now = counts.get("lost", 0), counts.get("gained", 0)
            n = self.divergence.agreement.n
            lines.append(f"{len(self.flips)} of {n} answers changed: {right} were right, {now} are now.")
        return "\n".join(lines)

    @property
    def compared(self) -> tuple[LayerError, ...]:
        """The layers that read and give what they do in the original, so that their own error is known."""
        return tuple(one for one in self.errors if not np.isnan(one.own_sqnr_db))

    def _noisiest(self) -> list[str]:
        """The layer that adds most; none is named where too few could be compared to tell."""
        few, total = len(self.compared), len(self.errors)
        if 2 * few < total:
            return [
                f"Only {few} of {total} layers can be compared with the original's: the others are gone, or read or "
                "give other channels. Which layer adds the most error is not known."
            ]
        if not any(np.isfinite(one.own_sqnr_db) for one in self.compared):
            return []
        noisy = min(self.compared, key=lambda one: one.own_sqnr_db)
        among = "" if few == total else f", among the {few} of {total} layers that can be compared"
        return [f"{noisy.layer} adds the most error of its own: {noisy.own_sqnr_db:.1f} dB SQNR{among}."]

    def _answers(self) -> Answers:
        if self.answers is None:
            raise BadValue(
                f"{self.variant.model.name} returns no classes (N, classes) on these data, so there are no answers to "
                "compare. Its layers, steps and divergence are there."
            )
        return self.answers


def diagnose(variant: Variant, evaluator: Evaluator, report: Reporter | None = None) -> Diagnosis:
    """Compare a variant with its original on the evaluator's split.

    Each beginning of its recipe is made and scored where it is not known. Raises: `BadValue` without such a
    split; what the steps raise; `Cancelled`.
    """
    report, original = report or Reporter(), evaluator.known(Recipe())
    assert original is not None  # a study measures it before any variant
    errors = layer_errors(original, variant.onnx, evaluator.split.first(IMAGES), report.part(0.0, 0.2))
    values = evaluator.outputs(variant.recipe, report.part(0.2, 0.5))
    classes = evaluator.chooses and np.isfinite(values).all()
    labels = evaluator.labels if evaluator.labels is not None else evaluator.original.argmax(axis=1)
    return Diagnosis(
        variant=variant,
        split=evaluator.split_name,
        metric_name=evaluator.metric_name,
        drop=loss(evaluator.scores(evaluator.original), evaluator.scores(values)),
        divergence=summarise(apart(evaluator.original, values)),
        errors=tuple(errors),
        prefixes=tuple(_prefixes(variant.recipe, evaluator, report.part(0.5, 1.0))),
        answers=Answers(evaluator.original, values, labels, tuple(evaluator.data.classes)) if classes else None,
    )


def _prefixes(recipe: Recipe, evaluator: Evaluator, report: Reporter) -> list[Prefix]:
    """The original, then the recipe up to each of its steps."""
    before = evaluator.scores(evaluator.original)
    found = [Prefix("original", mean_score(before), loss(before, before))]
    for count in range(1, len(recipe) + 1):
        beginning = Recipe(recipe.steps[:count])
        part = report.part((count - 1) / len(recipe), count / len(recipe))
        part(0.0, f"up to {beginning.steps[-1].brief}")
        after = evaluator.scores(evaluator.outputs(beginning, part))
        found.append(Prefix(beginning.steps[-1].brief, mean_score(after), loss(before, after)))
        before = after
    return found


def _worst_class(classes: pd.DataFrame) -> list[str]:
    if classes.empty or not classes["drop_low"].iloc[0] > 0:
        return []
    row = classes.iloc[0]
    taken = f", mostly taken for {row['taken_for']}" if row["taken_for"] else ""
    return [f"{row['name']} suffers most: {row['before']:.1%} to {row['after']:.1%}{taken}."]
