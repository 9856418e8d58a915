"""The loop: choose, build, measure, correct what the next choice stands on, until the time is spent."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from workbench.jobs import Reporter
from workbench.recipe import Recipe
from workbench.search.flight import Flight, Landed, Make
from workbench.search.harm import CHAINS, CHANNELS
from workbench.search.ledger import Ledger
from workbench.search.trial import Pick, Wish

#: Two values of what is minimised that are nearer than this are not told apart (relative).
CLOSE = 0.04
#: And while more training is still to come (relative): it moves the limit further than that.
ROUGH = 0.12
#: No choice is trained for more.
LONGEST = 48
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

    ledger: Ledger
    make: Make
    deadline: float
    longest: float = 0.0  # seconds of the longest trial
    #: How many are built at once.
    workers: Callable[[], int] = lambda: 1
    left_out: list[Pick] = field(default_factory=list)  # what workers could not build
    notes: list[str] = field(default_factory=list)
    #: How many others were chosen once nothing was left between the best and what is too small, by epochs.
    others: Counter[int] = field(default_factory=Counter)

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
                    self.ledger.epochs *= 2

    def _probes(self) -> Iterator[Wish]:
        """First where the limit is expected, with both kinds of options and with each alone: how they compare.

        Trained, also without the blocks that may go: what training makes good of that is not to be seen before.
        """
        first = self.ledger.smallest(*self.ledger.range)
        less = self.ledger.starts[1:] if self.ledger.train else ()
        return iter([Wish(first, kind) for kind in ("", CHANNELS, CHAINS)] + [Wish(first, start=one) for one in less])

    def _next(self) -> Wish | None:
        """Between the smallest that keeps to the limit and the largest below it that does not; None when they meet."""
        good, bad = self.ledger.kept, self.ledger.failed
        least, most = self.ledger.range
        low = max(least, bad or 0.0, (good or 0.0) / STRIDE)
        high = min(most, good or math.inf, (bad or math.inf) * STRIDE if good is None else math.inf)
        if high <= low * (1 + (ROUGH if self._may_train_longer(SEVERAL) else CLOSE)):
            return None
        span = high / low  # the forecast may be far off: neither end is gone to at once
        wanted = min(max(self.ledger.smallest(low, high), low * span**INNER), high / span**INNER)
        return Wish(wanted)

    def _other(self) -> Pick | None:
        """A choice a little smaller than the best: several are about as good by harm, and one of them is better."""
        good, epochs = self.ledger.kept, self.ledger.epochs
        known = {one.recipe for one in self.left_out} | self.ledger.recipes
        while good is not None and self.others[epochs] < OTHERS:
            self.others[epochs] += 1
            number = self.others[epochs]
            pick = self.ledger.picked(Wish(good * (1 - CLOSE * (1 + number % 3)), seed=number))
            if pick is not None and pick.recipe not in known:
                return pick
        return None

    def _may_train_longer(self, trials: int) -> bool:
        """Whether there is time for so many trials of twice the epochs, and something was tried with those of now."""
        ledger = self.ledger
        tried = any(one.epochs == ledger.epochs for one in ledger.tried)
        if not ledger.train or not tried or ledger.epochs > LONGEST / 2:
            return False
        return time.monotonic() + trials * 2 * self.longest <= self.deadline

    def _time_for_one(self, under_way: Sequence[Pick]) -> bool:
        begun = self.ledger.tried or under_way or self.left_out
        return time.monotonic() + 0.7 * self.longest < self.deadline or not begun

    def _pick(self, aims: Iterator[Wish], under_way: Sequence[Pick]) -> Pick | None:
        """What to build next, beside what is under way; None where there is no time or nothing left to learn."""
        if not self._time_for_one(under_way):
            return None
        unknown = [*under_way, *self.left_out]
        known = {one.recipe for one in unknown}
        for aim in aims:
            pick = self.ledger.picked(aim)
            if pick is not None and pick.recipe not in known | self.ledger.recipes:
                return pick
        if self.ledger.tried and self.ledger.unreachable():
            return None
        for turn in range(2 if unknown else 1):
            # All of them within the limit or all beyond, in turns: so the next ones spread to both sides.
            with self.ledger.supposed(unknown, within=(len(unknown) + turn) % 2 == 1):
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
            pick = self.ledger.picked(wish)
            if pick is None or pick.recipe in known:  # such as what workers could not build: then one near it
                near = (wish._replace(aim=wish.aim * times, seed=seed) for seed in SEEDS for times in NEARBY)
                picks = map(self.ledger.picked, near)
                spent = {*known, *self.ledger.recipes}
                return next((one for one in picks if one is not None and one.recipe not in spent), None)
            before = next((one for one in self.ledger.tried if one.variant.recipe == pick.recipe), None)
            if before is None:
                return pick
            self.ledger.tried.append(replace(before, aim=pick.aim))  # allowed more, it is what it was
        return None

    def _take(self, landed: Landed[Pick]) -> None:
        pick, variant, seconds, why = landed
        if variant is None:
            self.left_out.append(pick)
            self.notes.append(why)
            return
        self.longest = max(self.longest, seconds)
        self.ledger.take(pick, variant)
