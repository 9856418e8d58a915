"""What a variant was asked for, and which of several keeps to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from workbench.charts import column, lower
from workbench.frames.limits import COMPARISONS, Limit
from workbench.frames.pareto import TIMED
from workbench.measure.evaluation import CHANGE, VALIDATION
from workbench.search.goal import SHARED, SMALL, Goal, goal_of
from workbench.tasks import Metric
from workbench.variant import Variant

#: What may be lost of a share where nobody says so, as in a search.
USUAL = 0.01
WORDS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}


@dataclass(frozen=True)
class Asked:
    """A goal, and the original that it is relative to.

    What is lost is read on the validation split where the original was measured there, else on the test split.
    """

    goal: Goal
    metric: Metric
    original: Variant

    @classmethod
    def read(cls, minimise: str, where: str | Sequence[str], original: Variant) -> Asked:
        """As a search reads them; without a limit on a share, that at most a hundredth is lost.

        Raises: `UnknownName`, `BadValue`, as `Study.search`.
        """
        metric = original.data.task.principal
        goal = goal_of(minimise, where, metric)
        if goal.loss is None and goal.floor is None and metric.share:
            goal = replace(goal, loss=USUAL)
        return cls(goal, metric, original)

    @property
    def chose_on_test(self) -> bool:
        """Whether there was nothing but the test split to choose on."""
        return f"{VALIDATION}{self.metric.name}" not in self.original.estimates

    @property
    def figure(self) -> str:
        """The figure that choices read."""
        return self.metric.name if self.chose_on_test else f"{VALIDATION}{self.metric.name}"

    @property
    def margin(self) -> float | None:
        """How much may be lost of the metric, in its unit; None where no limit says so."""
        before = self.original[self.figure].value
        lost = [] if self.goal.loss is None else [self.goal.loss]
        if self.goal.floor is not None:
            lost.append(before - self.goal.floor if self.metric.more_is_better else self.goal.floor - before)
        return min(lost, default=None)

    def best(self, variants: Iterable[Variant]) -> Variant | None:
        """The smallest or fastest of those that keep to every limit and surely gain by it; None where none does."""
        kept = [one for one in variants if one.recipe.steps and not self.missed(one) and self._gains(one)]
        return min(kept, key=self._size, default=None)

    def missed(self, variant: Variant) -> list[str]:
        """The limits that a variant does not keep to, each as a clause."""
        return [*self._lost(variant), *(self.clause(one) for one in self.goal.limits if not self._met(one, variant))]

    def clauses(self) -> list[str]:
        """Every limit: `loses at most 1 point of accuracy`."""
        return [*self._on_metric(), *map(self.clause, self.goal.limits)]

    @property
    def aim(self) -> str:
        """What is made small: `the least latency`."""
        return f"the least {SMALL[self.goal.minimise]}"

    @staticmethod
    def clause(limit: Limit) -> str:
        """A limit within a sentence: `MACs at most 30 % of the original's`."""
        shown = column(limit.column)
        relative = limit.column in SHARED and limit.column not in TIMED and 0 < limit.value <= 1
        value = f"{100 * limit.value:g} % of the original's" if relative else shown.text(limit.value)
        return f"{lower(shown.label)} {WORDS[limit.comparison]} {value}"

    def _on_metric(self) -> list[str]:
        found = [] if self.goal.loss is None else [self._loses(self.goal.loss)]
        if self.goal.floor is not None:
            side = "at least" if self.metric.more_is_better else "at most"
            found.append(f"{self.metric.word} {side} {self.metric.text(self.goal.floor)}")
        return found or [f"is not surely worse in {self.metric.word}"]

    def _loses(self, loss: float) -> str:
        amount = amount_text(loss, self.metric)
        return f"loses at most {amount} of {self.metric.word}" if loss >= 0 else f"gains at least {amount}"

    def _lost(self, variant: Variant) -> Iterator[str]:
        """The limit on the metric, where it is missed or was not measured."""
        if self.figure not in variant.estimates:
            yield f"{self.metric.word} was not measured where choices are made"
        elif self.margin is None:
            change = variant.estimates.get(f"{self.figure}{CHANGE}")
            worse = change is not None and (change.high < 0 if self.metric.more_is_better else change.low > 0)
            yield from self._on_metric() if worse else []
        elif self._loss(variant) > self.margin + 1e-12:  # 0.94 - 0.93 is a little more than 0.01
            yield from self._on_metric()

    def _loss(self, variant: Variant) -> float:
        sign = 1 if self.metric.more_is_better else -1
        return sign * (self.original[self.figure].value - variant[self.figure].value)

    def _met(self, limit: Limit, variant: Variant) -> bool:
        if limit.column not in variant.estimates:
            return False
        share = limit.column in SHARED and limit.column not in TIMED and 0 < limit.value <= 1
        bound = limit.value * self.original[limit.column].value if share else limit.value
        return bool(COMPARISONS[limit.comparison](variant[limit.column].value, bound))

    def _gains(self, variant: Variant) -> bool:
        if self.goal.minimise in TIMED:
            return variant["speedup"].low > 1
        return variant[self.goal.minimise].value < self.original[self.goal.minimise].value

    def _size(self, variant: Variant) -> float:
        timed = self.goal.minimise in TIMED
        return -variant["speedup"].value if timed else variant[self.goal.minimise].value


def amount_text(value: float, metric: Metric) -> str:
    """An amount of a metric: `1 point`, `0.5 points`, `3 dB`."""
    if not metric.share:
        return f"{abs(value):g} {metric.unit}".rstrip()
    number = f"{100 * abs(value):g}"
    return f"{number} {'point' if number == '1' else 'points'}"
