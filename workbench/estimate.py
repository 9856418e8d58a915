"""A measured number that cannot lose its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from workbench.interface.arguments import check_kinds

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, the number of observations behind it, and its unit.

    An exact count has `low == value == high` and `n == 1`.

    >>> print(wb.Estimate(0.926, 0.921, 0.931, n=10_000))
    0.926 [0.921, 0.931]
    >>> wb.Estimate(-0.002, -0.006, 0.001).holds(0)  # a difference that may be none
    True
    """

    value: float
    low: float
    high: float
    n: int = 1
    unit: str = ""

    @check_kinds
    def holds(self, value: float) -> bool:
        """Whether the interval holds a value: a difference that holds 0, or a ratio that holds 1, may be none."""
        return self.low <= value <= self.high

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.low == self.high:
            return (f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:g}") + unit
        return f"{self.value:.4g}{unit} [{self.low:.4g}, {self.high:.4g}]"


def exact(value: float, unit: str = "") -> Estimate:
    """An estimate without uncertainty, such as a count of parameters."""
    return Estimate(value, value, value, 1, unit)


def wilson(right: int, n: int) -> Estimate:
    """The share of `right` among `n` with Wilson's 95 % score interval (Wilson 1927).

    Unlike the normal approximation it stays inside [0, 1] and is sound near both ends.
    """
    if n <= 0:
        raise ValueError(f"n must be positive, got {n}")
    p, z2 = right / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # Both ends are exact where every or no observation is right; rounding must not exclude the value.
    low = 0.0 if right == 0 else centre - half
    high = 1.0 if right == n else centre + half
    return Estimate(p, low, high, n)


def mcnemar(lost: int, gained: int) -> float:
    """McNemar's exact test, two-sided: how likely discordant pairs fall so unevenly if neither side is better.

    `lost` and `gained` are the inputs that the first alone and the second alone gets right; each discordant pair is
    then the throw of a fair coin. Source: McNemar 1947, in its exact form.
    """
    count, ways, tail = lost + gained, 1, 0
    for k in range(min(lost, gained) + 1):
        tail += ways
        ways = ways * (count - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << count))  # integers until the end: no underflow for thousands of pairs


def paired_change(lost: int, gained: int, n: int) -> Estimate:
    """The change of a share on the same `n` inputs, `(gained - lost) / n`, with Tango's 95 % score interval.

    The interval holds every difference that a score test would not reject. Of Tango's, Newcombe's (method 10),
    Bonett and Price's, Agresti and Min's and Wald's it covers nearest to 95 % down to a handful of discordant pairs:
    `benchmarks/paired.py` has the figures. Source: Tango 1998, "Equivalence test and confidence interval for the
    difference in proportions for the paired-sample design", Statistics in Medicine 17.
    """
    if n <= 0 or min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"of n={n} inputs, lost={lost} and gained={gained} cannot be")
    change = (gained - lost) / n

    def rejects(difference: float) -> bool:
        return abs(_score(lost, gained, n, difference)) > Z95

    return Estimate(change, _edge(rejects, change, -1.0), _edge(rejects, change, 1.0), n)


def _score(lost: int, gained: int, n: int, difference: float) -> float:
    """Tango's statistic for a true difference: standard normal where it is true.

    Its variance is that of the most likely share of lost inputs under that difference.
    """
    b = (2 * n - gained + lost) * difference - lost - gained
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    gap = gained - lost - n * difference
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0


def _edge(rejects: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where a test begins to reject between a difference that it accepts and one beyond, to 15 digits."""
    if not rejects(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejects(middle) else (middle, outside)
    return inside


def quotient(above: Estimate, below: Estimate) -> Estimate:
    """How many times `above` is `below`, for two positive ratios to the same thing that were measured apart.

    The halves of the intervals are added in quadrature on the log scale (Zou and Donner 2008).
    """
    value = above.value / below.value
    less = math.hypot(math.log(above.value / above.low), math.log(below.high / below.value))
    more = math.hypot(math.log(above.high / above.value), math.log(below.value / below.low))
    return Estimate(value, value * math.exp(-less), value * math.exp(more), min(above.n, below.n), above.unit)
