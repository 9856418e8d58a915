"""The loop: choose, build, measure, correct what the next choice stands on, until the time is spent."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import OutOfReach
from workbench.jobs import Reporter
from workbench.recipe import Recipe, Step
from workbench.search.choice import Chosen, cheapest, choose
from workbench.search.flight import Flight, Landed, Make
from workbench.search.forecast import Forecast, Pace
from workbench.search.found import Promise
from workbench.search.goal import Goal, lost
from workbench.search.harm import CHAINS, CHANNELS, KINDS
from workbench.search.menu import Price
from workbench.search.trial import Pick, Start, Tried, Wish
from workbench.steps.finetune import Finetune

if TYPE_CHECKING:
    from workbench.plan import Plan
    from workbench.tasks import Metric
    from workbench.variant import Variant

#: Points of the predicted front.
LADDER = 12
#: Two values of what is minimised that are nearer than this are not told apart (relative).
CLOSE = 0.04
#: And while more training is still to come (relative): it moves the limit further than that.
ROUGH = 0.12
#: Passes over the training images at first; twice as many once nothing else is gained.
EPOCHS = 3
#: No choice is trained for more.
LONGEST = 48
#: Of the harm of what is done so much is lost once it was trained, to begin with; without training all of it.
TRAINED = 0.4
#: Trials that there must be time for before the epochs are doubled rather than other choices tried.
SEVERAL = 3
#: Further than this from what was measured nothing is tried at once (a factor).
STRIDE = 1.7
#: The share of a range, on a logarithmic scale, at either end that the next try keeps away from.
INNER = 0.2
#: Sizes (factors), and seeds of what harm might be too, that are looked at where what is wished for is known already.
NEARBY, SEEDS = (1.0, 0.9, 1.1, 0.75, 1.3), range(4)
#: Other choices about as good by harm that are tried at each number of epochs.
OTHERS = 6


@dataclass
class Loop:
    """A search on its way. `make` builds and measures a recipe, also on several threads at once where there are several
    `workers`; `deadline` is on the monotonic clock.
    """

    goal: Goal
    metric: Metric
    baseline: Variant
    starts: tuple[Start, ...]
    make: Make
    deadline: float
    train: bool
    start: float = 0.0  # what is lost where nothing is chosen: by int8 alone
    known: Sequence[Variant] = ()  # measured before the search chose any
    tried: list[Tried] = field(default_factory=list)
    epochs: int = EPOCHS
    longest: float = 0.0  # seconds of the longest trial
    #: How many are built at once.
    workers: Callable[[], int] = lambda: 1
    left_out: list[Pick] = field(default_factory=list)  # what workers could not build
    notes: list[str] = field(default_factory=list)
    #: How many others were chosen once nothing was left between the best and what is too small, by epochs.
    others: Counter[int] = field(default_factory=Counter)
    _leasts: dict[tuple[tuple[str, float], ...], float] = field(default_factory=dict)

    def run(self, report: Reporter, seen: Callable[[], object] = lambda: None) -> None:
        """Try choices, as many at once as there are workers, and call `seen` after each.

        Raises: `OutOfReach` where limits cannot be met; `Cancelled`.
        """
        begun = time.monotonic()
        aims = self._probes()
        with Flight[Pick](self.make, self.workers) as flight:
            while True:
                while flight.room and (pick := self._pick(aims, flight.picks)) is not None:
                    flight.begin(pick)
                if flight.picks:
                    share = min((time.monotonic() - begun) / max(self.deadline - begun, 1e-9), 0.99)
                    self._take(flight.next(report.part(share, min(share + 0.2, 1.0))))
                    seen()
                elif not self._may_train_longer(1):
                    return
                else:
                    self.epochs *= 2

    # What is known.

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
        if self.tried and not self._within_reach():
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
            recipe = start.recipe(chosen, self._training)
            found.append(Promise(recipe, value, self.loss(start, chosen), chosen.gap, speedup))
        return found

    # What to try next.

    def _probes(self) -> Iterator[Wish]:
        """First where the limit is expected, with both kinds of options and with each alone: how they compare.

        Trained, also without the blocks that may go: what training makes good of that is not to be seen before.
        """
        first = self._expected(*self.range)
        less = self.starts[1:] if self.train else ()
        return iter([Wish(first, kind) for kind in ("", CHANNELS, CHAINS)] + [Wish(first, start=one) for one in less])

    def _next(self) -> Wish | None:
        """Between the smallest that keeps to the limit and the largest below it that does not; None when they meet."""
        # What was kept to counts by what it came to, and is kept to with more training too; what was not kept to counts
        # by what it was allowed, and may be with more.
        kept = [one for one in self.tried if one.loss <= self.allowed and one.epochs <= self.epochs]
        good = min((one.size(self.goal.minimise) for one in kept), default=None)
        failed = [one.aim for one in self.tried if one.loss > self.allowed and one.epochs == self.epochs]
        bad = max((aim for aim in failed if good is None or aim < good), default=None)
        least, most = self.range
        low = max(least, bad or 0.0, (good or 0.0) / STRIDE)
        high = min(most, good or math.inf, (bad or math.inf) * STRIDE if good is None else math.inf)
        if high <= low * (1 + (ROUGH if self._may_train_longer(SEVERAL) else CLOSE)):
            return None
        span = high / low  # the forecast may be far off: neither end is gone to at once
        wanted = min(max(self._expected(low, high), low * span**INNER), high / span**INNER)
        return Wish(wanted)

    def _other(self) -> Pick | None:
        """A choice a little smaller than the best: several are about as good by harm, and one of them is better."""
        good = min((one.size(self.goal.minimise) for one in self.tried if one.loss <= self.allowed), default=None)
        known = {one.recipe for one in self.left_out} | {one.variant.recipe for one in self.tried}
        while good is not None and self.others[self.epochs] < OTHERS:
            self.others[self.epochs] += 1
            number = self.others[self.epochs]
            pick = self._picked(Wish(good * (1 - CLOSE * (1 + number % 3)), seed=number))
            if pick is not None and pick.recipe not in known:
                return pick
        return None

    def _expected(self, low: float, high: float) -> float:
        """The smallest size between two that is expected to keep to the limit."""
        if math.isinf(self.allowed):
            return low
        for _ in range(6):
            middle = math.sqrt(low * high)
            start, chosen = self.choice(Wish(middle))
            low, high = (low, middle) if self.loss(start, chosen) <= self.allowed else (middle, high)
        return high

    def _may_train_longer(self, trials: int) -> bool:
        """Whether there is time for so many trials of twice the epochs, and something was tried with those of now."""
        tried = any(one.epochs == self.epochs for one in self.tried)
        if not self.train or not tried or self.epochs > LONGEST / 2:
            return False
        return time.monotonic() + trials * 2 * self.longest <= self.deadline

    def _time_for_one(self, under_way: Sequence[Pick]) -> bool:
        return time.monotonic() + 0.7 * self.longest < self.deadline or not (self.tried or under_way or self.left_out)

    # Trying.

    @property
    def _training(self) -> list[Step]:
        return [Finetune(epochs=self.epochs)] if self.train else []

    def _pick(self, aims: Iterator[Wish], under_way: Sequence[Pick]) -> Pick | None:
        """What to build next, beside what is under way; None where there is no time or nothing left to learn."""
        if not self._time_for_one(under_way):
            return None
        unknown = [*under_way, *self.left_out]
        known = {one.recipe for one in unknown}
        for aim in aims:
            pick = self._picked(aim)
            if pick is not None and pick.recipe not in known | {one.variant.recipe for one in self.tried}:
                return pick
        if self.tried and not self._within_reach():
            return None
        for turn in range(2 if unknown else 1):
            # All of them within the limit or all beyond, in turns: so the next ones spread to both sides.
            with self._supposed(unknown, within=(len(unknown) + turn) % 2 == 1):
                pick = self._following(known)
            if pick is not None:
                return pick
        if self.left_out and not under_way and (pick := self._following(known)) is not None:
            return pick
        # More training gains more than another choice about as good, where there is time to use what it gains.
        return None if under_way or self._may_train_longer(SEVERAL) else self._other()

    def _following(self, known: Collection[Recipe]) -> Pick | None:
        """What is next between what keeps to the limit and what does not; None where nothing new is."""
        while (wish := self._next()) is not None:
            pick = self._picked(wish)
            if pick is None or pick.recipe in known:  # such as what workers could not build: then one near it
                near = (wish._replace(aim=wish.aim * times, seed=seed) for seed in SEEDS for times in NEARBY)
                picks = map(self._picked, near)
                spent = {*known, *(one.variant.recipe for one in self.tried)}
                return next((one for one in picks if one is not None and one.recipe not in spent), None)
            before = next((one for one in self.tried if one.variant.recipe == pick.recipe), None)
            if before is None:
                return pick
            self.tried.append(replace(before, aim=pick.aim))  # allowed more, it is what it was
        return None

    def _within_reach(self) -> bool:
        """Whether limits can still be met, now that speed is known better."""
        try:
            return self.range[0] < math.inf
        except OutOfReach as error:
            note = f"Nothing further is tried, from what was measured until then. {error}"
            self.notes += [] if note in self.notes else [note]
            return False

    def _picked(self, wish: Wish) -> Pick | None:
        try:
            start, chosen = self.choice(wish)
        except OutOfReach:
            if not (wish.kind or wish.start or self.tried):
                raise
            return None  # one kind or start alone does not reach it, or nothing from what is known of the speed now
        expected = self.expected(chosen.price)
        return Pick(start, chosen, wish.aim, self.epochs, start.recipe(chosen, self._training), expected)

    @contextmanager
    def _supposed(self, unknown: Sequence[Pick], *, within: bool) -> Iterator[None]:
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

    def _take(self, landed: Landed[Pick]) -> None:
        pick, variant, seconds, why = landed
        if variant is None:
            self.left_out.append(pick)
            self.notes.append(why)
            return
        self.longest = max(self.longest, seconds)
        loss = lost(self.baseline, variant, self.metric)
        self.tried.append(Tried(variant, pick.chosen, pick.start, pick.aim, loss, pick.epochs, pick.expected))
