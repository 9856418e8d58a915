"""Which layers broke a variant: halves of them are restored until the least set that explains the loss is left."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.diagnosis.evaluator import Evaluator, loss, mean_score
from workbench.errors import BadValue, Cancelled, WorkbenchError
from workbench.estimate import Estimate, exact
from workbench.jobs import Reporter
from workbench.measure.wording import UNSURE, lost
from workbench.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trial:
    """One evaluation: the variant with some layers restored, its score, and the loss that was left."""

    restored: tuple[str, ...]
    score: Estimate | None
    left: Estimate | None
    note: str = ""


@dataclass(frozen=True)
class Bisection:
    """What was found. `layers` is empty where nothing is lost, or where restoring layers does not help.

    `drop` is what the variant loses, `left` what it still loses with `layers` restored by `recipe`, both on
    the same validation images; `complete` is False where the evaluations allowed did not suffice to make the
    set as small as possible.
    """

    layers: tuple[str, ...]
    recipe: Recipe
    drop: Estimate
    left: Estimate
    trials: tuple[Trial, ...] = field(repr=False)
    candidates: int = 0
    complete: bool = True
    metric_name: str = "accuracy"

    @property
    def evaluations(self) -> int:
        """How many restored variants were made and evaluated."""
        return len(self.trials)

    @property
    def explained(self) -> float:
        """The share of the loss that restoring the layers takes away."""
        return 1 - self.left.value / self.drop.value if self.layers else 0.0

    def frame(self) -> pd.DataFrame:
        """One row an evaluation: the layers restored, how many, the score, the loss left with its interval, a note."""
        import pandas as pd

        nothing = Estimate(math.nan, math.nan, math.nan)
        pairs = [(one, one.score or nothing, one.left or nothing) for one in self.trials]
        rows = [
            (", ".join(one.restored), len(one.restored), score.value, left.value, left.low, left.high, one.note)
            for one, score, left in pairs
        ]
        columns = ["restored", "layers", self.metric_name, "left", "left_low", "left_high", "note"]
        return pd.DataFrame(rows, columns=columns)

    def __str__(self) -> str:
        said = lost(self.drop, self.metric_name)
        if self.drop.high < 0:
            return f"It {said} on the validation split: there is no loss to explain."
        if self.drop.low <= 0:
            return f"It {said} on the validation split: {UNSURE} from nothing, so nothing to explain."
        if not self.layers:
            return f"It {said}, and {100 * self.left.value:.2f} points still with every layer restored."
        what = ", ".join(self.layers)
        which = "" if self.complete else " (perhaps not all of them: the evaluations allowed were used up)"
        return (
            f"It {said}. Restoring {what}{which} takes away {self.explained:.0%} of that, "
            f"found in {self.evaluations} evaluations over {self.candidates} layers."
        )


def bisect(
    evaluator: Evaluator,
    recipe: Recipe,
    suspicion: Mapping[str, float] | None = None,
    *,
    share: float = 0.9,
    most: int = 60,
    report: Reporter | None = None,
) -> Bisection:
    """The least set of layers whose restoration takes away at least `share` of a variant's loss.

    The layers that the recipe changes are put in order, by `suspicion` (higher first) where it is given;
    the most suspicious is then tried alone. The shortest sufficient beginning of the order is found by
    halving: its last layer is one of the set. With the set so far restored, the same again for what stands
    before it (Zeller & Hildebrandt 2002 call the result 1-minimal). A single culprit among n layers takes at
    most log2(n) + 3 evaluations. After `most` the smallest set known to suffice is given. Nothing is
    chosen on the test split.

    Raises: `BadValue` for a share outside (0, 1], a recipe that changes no layer, or data without a
    validation split; `StepFailed` where a step cannot leave out single layers; `Cancelled`.
    """
    if not 0 < share <= 1 or most < 1:
        raise BadValue(f"share={share}, most={most}: the share lies above 0 and up to 1, evaluations are 1 or more.")
    layers = recipe.changed(evaluator.model)
    if not layers:
        raise BadValue(f"{recipe.name} changes no layer of {evaluator.model.name}, so there is nothing to restore.")
    search = Search(evaluator, recipe, layers, share, most, report or Reporter())
    if suspicion is None:
        return search.run(layers, ranked=False)
    return search.run(sorted(layers, key=lambda name: -suspicion.get(name, 0.0)), ranked=True)


class Search:
    """The evaluations of one bisection, each made once."""

    def __init__(
        self, evaluator: Evaluator, recipe: Recipe, layers: tuple[str, ...], share: float, most: int, report: Reporter
    ) -> None:
        self.evaluator, self.recipe, self.layers = evaluator, recipe, layers
        self.share, self.most, self.report = share, most, report
        self.trials: dict[frozenset[str], Trial] = {}
        self.before = evaluator.scores(evaluator.original)
        self.drop = loss(self.before, evaluator.scores(evaluator.outputs(recipe, report.part(0.0, 0.02))))

    def run(self, order: Sequence[str], *, ranked: bool) -> Bisection:
        """The bisection over layers in this order."""
        if self.drop.low <= 0:
            return self._result((), self.drop, True)
        with contextlib.suppress(BadValue):  # one layer alone may be too few for a budget; others may do
            self.recipe.without((order[0],), self.evaluator.model)
        bare = self.recipe.without(self.layers, self.evaluator.model)
        if bare.steps and not self.enough(order):
            return self._result((), self.trials[frozenset(order)].left or self.drop, True)
        found, complete = least_set(order, self.enough, lambda: len(self.trials) >= self.most, ranked=ranked)
        trial = self.trials.get(frozenset(found))
        left = trial.left if trial is not None else exact(0.0)  # every layer restored: the original itself
        return self._result(tuple(one for one in self.layers if one in found), left or self.drop, complete)

    def enough(self, restored: Sequence[str]) -> bool:
        """Whether restoring these layers takes away enough of the loss."""
        key = frozenset(restored)
        if key not in self.trials:
            if key == frozenset(self.layers) and not self.recipe.without(self.layers, self.evaluator.model).steps:
                return True
            self.trials[key] = self._try(tuple(one for one in self.layers if one in key))
        left = self.trials[key].left
        return left is not None and left.value <= (1 - self.share) * self.drop.value

    def _try(self, restored: tuple[str, ...]) -> Trial:
        expected = math.log2(len(self.layers)) + 3
        start, end = (1 - 0.5 ** (count / expected * 2) for count in (len(self.trials), len(self.trials) + 1))
        report = self.report.part(start, end)
        report(0.0, f"evaluation {len(self.trials) + 1}: {len(restored)} of {len(self.layers)} layers restored")
        try:
            recipe = self.recipe.without(restored, self.evaluator.model)
            scores = self.evaluator.scores(self.evaluator.outputs(recipe, report))
        except Cancelled:
            raise
        except WorkbenchError as error:  # these layers cannot be restored without others
            return Trial(restored, None, None, str(error))
        return Trial(restored, mean_score(scores), loss(self.before, scores))

    def _result(self, found: tuple[str, ...], left: Estimate, complete: bool) -> Bisection:
        recipe = self.recipe.without(found, self.evaluator.model) if found else self.recipe
        tried = tuple(self.trials.values())
        return Bisection(found, recipe, self.drop, left, tried, len(self.layers), complete, self.evaluator.metric_name)


def least_set(
    order: Sequence[str],
    enough: Callable[[Sequence[str]], bool],
    spent: Callable[[], bool] = lambda: False,
    *,
    ranked: bool = False,
) -> tuple[list[str], bool]:
    """A smallest sufficient set: without any one of its members it no longer suffices.

    `enough` tells of a set whether it suffices; the whole must, the empty set must not, and a set with more
    members must suffice where one with fewer does. `ranked`: the first of the order is worth a trial of its
    own. The second value is False where `spent` ended the search.
    """
    found: list[str] = []
    rest = list(order)
    while True:
        low, high = 0, len(rest)  # found + rest[:low] does not suffice, found + rest[:high] does
        while high - low > 1:
            if spent():
                return [*found, *rest[:high]], False
            middle = 1 if ranked and (low, high) == (0, len(rest)) else (low + high) // 2
            if enough([*found, *rest[:middle]]):
                high = middle
            else:
                low = middle
        found.append(rest[high - 1])
        rest = rest[: high - 1]
        if not rest or enough(found):
            return found, True
        if spent():
            return [*found, *rest], False


def suspicions(own_sqnr_db: Mapping[str, float]) -> dict[str, float]:
    """How much each layer is to be suspected: the error that it adds itself; one that cannot be compared most."""
    return {name: math.inf if np.isnan(value) else -value for name, value in own_sqnr_db.items()}
