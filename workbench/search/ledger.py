"""What a search knows: what it chooses from, what was tried, and what follows from both for the next choice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import OutOfReach
from workbench.recipe import Recipe, Step
from workbench.search.choice import Chosen, cheapest, choose
from workbench.search.forecast import Forecast, Pace
from workbench.search.found import Promise
from workbench.search.goal import Goal, lost
from workbench.search.harm import KINDS
from workbench.search.menu import Price
from workbench.search.trial import Pick, Start, Tried, Wish
from workbench.steps.finetune import Finetune

if TYPE_CHECKING:
    from workbench.plan import Plan
    from workbench.tasks import Metric
    from workbench.variant import Variant

#: Points of the predicted front.
LADDER = 12
#: Passes over the training images at first; twice as many once nothing else is gained.
EPOCHS = 3
#: Of the harm of what is done so much is lost once it was trained, to begin with; without training all of it.
TRAINED = 0.4


@dataclass
class Ledger:
    """What a search was given, and what it has tried."""

    goal: Goal
    metric: Metric
    baseline: Variant
    starts: tuple[Start, ...]
    train: bool
    start: float = 0.0  # what is lost where nothing is chosen: by int8 alone
    known: Sequence[Variant] = ()  # measured before the search chose any
    tried: list[Tried] = field(default_factory=list)
    epochs: int = EPOCHS  # of what is chosen now
    _leasts: dict[tuple[tuple[str, float], ...], float] = field(default_factory=dict)

    @cached_property
    def allowed(self) -> float:
        """How much may be lost."""
        return self.goal.allowed(self.baseline, self.metric)

    @property
    def forecast(self) -> Forecast:
        """From harm to loss, by all that was tried with as much training, or half as much."""
        results = [one.result for one in self._recent]
        usual = TRAINED if self.train else 1.0
        harm = replace(self.starts[0].harm, factors=dict.fromkeys(KINDS, usual))
        return Forecast.of(harm, results, self.allowed, self.start)

    @property
    def recipes(self) -> set[Recipe]:
        """Those that were tried."""
        return {one.variant.recipe for one in self.tried}

    @property
    def kept(self) -> float | None:
        """The least of what is minimised that keeps to the limit: counted by what it came to, however it was trained,
        since it keeps to it with more training too.
        """
        return min((one.size(self.goal.minimise) for one in self.tried if one.loss <= self.allowed), default=None)

    @property
    def failed(self) -> float | None:
        """The most below that which does not keep to it: counted by what it was allowed, and trained as long as now."""
        aims = [one.aim for one in self.tried if one.loss > self.allowed and one.epochs == self.epochs]
        least = math.inf if self.kept is None else self.kept
        return max((aim for aim in aims if aim < least), default=None)

    def take(self, pick: Pick, variant: Variant) -> None:
        """What a pick came to."""
        loss = lost(self.baseline, variant, self.metric)
        self.tried.append(Tried(variant, pick.chosen, pick.start, pick.aim, loss, pick.epochs, pick.expected))

    def loss(self, start: Start, chosen: Chosen) -> float:
        """What a choice is expected to lose: by its harm, and by how far the forecast was off for what led to it.

        Only between starts does that decide: whether blocks should go shows after a few tries, and is not harm alone.
        """
        forecast = self.forecast
        own = [one for one in self._recent if one.start is start]
        off = sum(one.loss - forecast.loss(one.result.parts) for one in own) / (len(own) + 1)
        return forecast.loss(start.parts(chosen)) + off

    @property
    def _recent(self) -> list[Tried]:
        """What was tried with as much training, or half as much."""
        return [one for one in self.tried if self.epochs // 2 <= one.epochs <= self.epochs]

    @property
    def pace(self) -> Pace:
        """From predicted to measured speed."""
        return Pace.of([*self.known, *(one.variant for one in self.tried if one.variant.recipe.steps)])

    @cached_property
    def _before(self) -> Plan:
        return Recipe().plan(self.baseline.model)

    def expected(self, price: Price) -> float:
        """How many times as fast as the original something of this price will be measured to be."""
        return self.pace.measured(self._before.latency_ms / price.latency_ms)

    def _least(self, others: Mapping[str, float]) -> float:
        """The least of what is minimised that the menus offer within the limits on other figures, computed once."""
        key = tuple(others.items())
        if key not in self._leasts:
            starts = self.starts
            self._leasts[key] = min(cheapest(one.menus, one.harm, self.goal.minimise, others) for one in starts)
        return self._leasts[key]

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most of what is minimised that the menus offer under the limits. Raises: `OutOfReach`."""
        limits = self._limits(math.inf)
        least = self._least({name: most for name, most in limits.items() if name != self.goal.minimise})
        most = max(getattr(menu.whole, self.goal.minimise) for one in self.starts for menu in one.menus)
        bound = limits.get(self.goal.minimise, most)
        if bound < least:
            choose(self.starts[0].menus, self.starts[0].harm, limits)  # says which limit, and what can be met
        return least, min(most, bound)

    def _limits(self, aim: float) -> dict[str, float]:
        limits = self.goal.prices(self._before)
        if "latency_ms" in limits:  # what will be measured is limited
            limits["latency_ms"] = self._before.latency_ms / self.pace.predicted(
                self._before.latency_ms / limits["latency_ms"]
            )
        limits[self.goal.minimise] = min(aim, limits.get(self.goal.minimise, math.inf))
        return {name: most for name, most in limits.items() if math.isfinite(most)}

    def choice(self, wish: Wish) -> tuple[Start, Chosen]:
        """The best choice of what is wished for. Raises: `OutOfReach`."""
        forecast, found = self.forecast, []
        problem: OutOfReach | None = None
        for start in self.starts if wish.start is None else [wish.start]:
            harm = replace(start.harm.shaken(wish.seed) if wish.seed else start.harm, factors=forecast.harm.factors)
            try:
                chosen = choose(start.menus, harm.only(wish.kind) if wish.kind else harm, self._limits(wish.aim))
            except OutOfReach as error:
                problem = error
                continue
            found.append((self.loss(start, chosen), start, chosen))
        if not found:
            assert problem is not None
            raise problem
        _, start, chosen = min(found, key=lambda one: one[0])
        return start, chosen

    def promises(self) -> list[Promise]:
        """The predicted front: the best choice at sizes from the smallest to the largest."""
        found = list[Promise]()
        if self.tried and self.unreachable():
            return found
        for aim in np.geomspace(*self.range, LADDER):
            try:
                start, chosen = self.choice(Wish(float(aim) * (1 + 1e-6)))
            except OutOfReach:
                continue
            value = getattr(chosen.price, self.goal.minimise)
            speedup = self.expected(chosen.price)
            if self.goal.minimise == "latency_ms":
                value = self._before.latency_ms / speedup
            recipe = start.recipe(chosen, self.training)
            found.append(Promise(recipe, value, self.loss(start, chosen), chosen.gap, speedup))
        return found

    def smallest(self, low: float, high: float) -> float:
        """The smallest size between two that is expected to keep to the limit."""
        if math.isinf(self.allowed):
            return low
        for _ in range(6):
            middle = math.sqrt(low * high)
            start, chosen = self.choice(Wish(middle))
            low, high = (low, middle) if self.loss(start, chosen) <= self.allowed else (middle, high)
        return high

    @property
    def training(self) -> list[Step]:
        """The training of what is chosen now; none where the search does not train."""
        return [Finetune(epochs=self.epochs)] if self.train else []

    def unreachable(self) -> str:
        """Why the limits can no longer be met, now that speed is known better; "" where they can."""
        try:
            return "" if self.range[0] < math.inf else "No choice keeps to the limits."
        except OutOfReach as error:
            return f"Nothing further is tried, from what was measured until then. {error}"

    def picked(self, wish: Wish) -> Pick | None:
        """What is to be built for a wish. Raises: `OutOfReach` where nothing can be, at the first."""
        try:
            start, chosen = self.choice(wish)
        except OutOfReach:
            if not (wish.kind or wish.start or self.tried):
                raise
            return None  # one kind or start alone does not reach it, or nothing from what is known of the speed now
        expected = self.expected(chosen.price)
        return Pick(start, chosen, wish.aim, self.epochs, start.recipe(chosen, self.training), expected)

    @contextmanager
    def supposed(self, unknown: Sequence[Pick], *, within: bool) -> Iterator[None]:
        """As if choices had come out about as forecast, within the limit or beyond."""
        guesses = [self.loss(pick.start, pick.chosen) for pick in unknown]
        count = len(self.tried)
        for pick, guess in zip(unknown, guesses, strict=True):
            loss = min(guess, self.allowed) if within else max(guess, self.allowed + 1e-9)
            self.tried.append(Tried(self.baseline, pick.chosen, pick.start, pick.aim, loss, pick.epochs))
        try:
            yield
        finally:
            del self.tried[count:]
