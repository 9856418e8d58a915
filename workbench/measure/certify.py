"""The paired, sequential test behind a `Certificate`: inputs in a random order until the answer is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.certificate import Answer
from workbench.data import Split
from workbench.data.batches import arrays
from workbench.errors import BadValue
from workbench.jobs import Reporter
from workbench.measure.paired import Sample
from workbench.measure.sequential import Bounded, Unbounded
from workbench.runtimes import runtime
from workbench.tasks import Metric

Array = npt.NDArray[Any]

#: Inputs between two looks.
LOOK = 100
#: How much more than the margin differences without bounds are taken to spread.
_SPREAD = 30


@dataclass(frozen=True)
class Claim:
    """That a variant loses at most `margin` of a metric, with probability 1 - `alpha`.

    Raises: `BadValue` for a margin or a level that cannot be.
    """

    metric: Metric
    margin: float
    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise BadValue(f"alpha={self.alpha!r} is how likely the answer may be wrong. Give a share such as 0.05.")
        if not 0 < self.margin < (1 if self.metric.share else math.inf):
            unit = "a share: 0.01 is one point" if self.metric.share else f"in {self.metric.unit or 'its own unit'}"
            raise BadValue(f"margin={self.margin!r}: give what may be lost of {self.metric.word}, {unit}.")

    def test(self, alpha: float) -> Bounded | Unbounded:
        """The test at a level."""
        return Bounded(alpha) if self.metric.share else Unbounded(alpha, _SPREAD * self.margin)


@dataclass(frozen=True)
class Pair:
    """The artefacts of an original and of a variant, to be compared on a split.

    `known` are the two figures on this very split, where they are known input by input.
    """

    original: Path
    variant: Path
    split: Split
    labelled: bool  # else the original's answers are what is wanted
    known: tuple[Sample, Sample] | None = None

    def gains(self, metric: Metric) -> Iterator[tuple[Array, Array]]:
        """What the variant gains (n,) on the next inputs in a random order that is always the same; their numbers."""
        order = np.random.default_rng(0).permutation(len(self.split))
        looks = [order[start : start + LOOK] for start in range(0, len(order), LOOK)]
        sign = 1 if metric.more_is_better else -1
        if self.known is not None:
            before, after = (one.values.astype(np.float64) for one in self.known)
            yield from ((sign * (after[rows] - before[rows]), rows) for rows in looks)
            return
        sessions = [runtime().load(path) for path in (self.original, self.variant)]
        for rows in looks:
            inputs, labels = self.split.read(rows.tolist())
            one, other = (_run(session, arrays(inputs), metric) for session in sessions)
            wanted = arrays(labels) if self.labelled else one
            yield sign * (_each(metric, other, wanted, len(rows)) - _each(metric, one, wanted, len(rows))), rows


def certify(pair: Pair, claim: Claim, groups: Array, report: Reporter) -> list[Verdict]:
    """Look at inputs until the claim is proved, or disproved, or there are none left.

    One verdict for each of the groups that the inputs (N,) are in. All must pass, which needs no correction; for one
    that fails the level is divided by their number.

    Raises: what the runtime and the metric raise; `Cancelled`.
    """
    names = np.unique(groups)
    races = [Race(claim, claim.alpha / len(names), int(name)) for name in names]
    seen = 0
    for gains, rows in pair.gains(claim.metric):
        report(seen / len(groups), "certificate")
        seen += len(rows)
        for race in races:
            race.add(gains[groups[rows] == race.group])
        if all(race.passed for race in races) or any(race.failed for race in races):
            break
    report(1.0, "certificate")
    return [race.verdict() for race in races]


@dataclass(frozen=True)
class Verdict:
    """What is known of one group of inputs: see `Certificate`."""

    group: int
    answer: Answer
    loss: float
    at_least: float
    at_most: float
    inputs: int
    more: float


@dataclass
class Race:
    """A claim and its contrary on one group of inputs: which is proved first."""

    claim: Claim
    against: float  # alpha of the contrary
    group: int = 0
    passed: bool = False
    failed: bool = False

    def __post_init__(self) -> None:
        self._values: Array = np.zeros(0)

    def add(self, gains: Array) -> None:
        """What was gained on further inputs (n,). An answer stays."""
        self._values = np.concatenate([self._values, gains])
        if self.passed or self.failed or not len(gains):
            return
        margin, values = self.claim.margin, self._values
        self.passed = bool(self.claim.test(self.claim.alpha).evidence(values, -margin)[-1] >= 0)
        self.failed = not self.passed and bool(self.claim.test(self.against).evidence(-values, margin)[-1] >= 0)

    def verdict(self) -> Verdict:
        """What is known of it now."""
        values, claim = self._values, self.claim
        if not len(values):
            return Verdict(self.group, Answer.UNDECIDED, 0.0, -math.inf, math.inf, 0, math.inf)
        test, margin = claim.test(claim.alpha), claim.margin
        answer = Answer.PASSES if self.passed else Answer.FAILS if self.failed else Answer.UNDECIDED
        wanted = min(test.until(values, -margin), claim.test(self.against).until(-values, margin))
        more = max(wanted - len(values), 1.0) if answer is Answer.UNDECIDED else 0.0
        at_least, at_most = test.low(-values), -test.low(values)
        return Verdict(self.group, answer, 0.0 - float(values.mean()), at_least, at_most, len(values), more)


def _run(session: Any, inputs: Any, metric: Metric) -> Any:
    return tuple(session.outputs(inputs)) if metric.several else session.run(inputs)


def _each(metric: Metric, outputs: Any, wanted: Any, n: int) -> Array:
    return metric.checked(np.asarray(metric.function(outputs, wanted)), n)
