"""Tests that may be looked at after every input: whether a mean of paired differences is more than a bound.

For differences between -1 and 1 the test is a bet (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
variables by betting"): the wealth of a gambler who stakes on every next input that the mean is above the bound. Where
it is not, the wealth is a supermartingale, so it ever reaches 1 / alpha with probability alpha at most (Ville 1939):
one may look as often as one likes, and stop. The stakes are a mixture, so that no input has to be held back for tuning
and the order within what was seen does not matter. Differences without bounds have the confidence sequence of the
central limit theorem (Waudby-Smith et al. 2024, "Time-uniform central limit theory"), right from some hundred inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Shares of the largest stake that cannot ruin the gambler: neighbours differ by 1.6, which costs 7 % of the growth.
_STAKES = 0.99 * 1.6 ** -np.arange(12.0)
#: How the wealth is split over them at first; the larger ones suit what margins mostly are, a share of few losses.
_SPLIT = np.log(_STAKES**0.5 / (_STAKES**0.5).sum())
#: Fewer values without bounds than this say nothing.
FEWEST = 100
#: For how many inputs the interval of values without bounds is the tightest.
_TIGHTEST = 1000
_MOST = 10**9  # inputs; beyond it nobody will look


@dataclass(frozen=True)
class Bounded:
    """Bets on the mean of values between -1 and 1. `alpha`, below 0.5, is how likely it errs at most."""

    alpha: float

    def evidence(self, values: Array, bound: float) -> Array:
        """After each of the values (n,): how many times 1 / alpha the wealth is, as a logarithm (n,).

        From 0 on the mean is more than `bound`, which lies within (-1, 1).
        """
        grown = np.cumsum(self._growth(values, bound), axis=1)
        return _wealth(grown) + math.log(self.alpha)

    def until(self, values: Array, bound: float) -> float:
        """After how many values like these the evidence would be enough; infinity where it would never be."""
        growth = self._growth(values, bound).mean(axis=1, keepdims=True)
        return _first(lambda n: _wealth(n * growth)[0] + math.log(self.alpha))

    def low(self, values: Array) -> float:
        """What the mean of values like these (n,) is above, at any n with probability 1 - alpha."""
        below, above = -1.0, float(values.mean())
        for _ in range(40 if above > below else 0):
            middle = (below + above) / 2
            enough = _wealth(self._growth(values, middle).sum(axis=1, keepdims=True))[0] + math.log(self.alpha) >= 0
            below, above = (middle, above) if enough else (below, middle)
        return below

    def _growth(self, values: Array, bound: float) -> Array:
        """What each value adds to the logarithm of the wealth, for every stake (12, n)."""
        return np.log1p(_STAKES[:, None] / (1 + bound) * (values - bound))


@dataclass(frozen=True)
class Unbounded:
    """The mean of values of any size, by the central limit theorem.

    `scale` is about how much they spread: there the interval is the tightest, and it is wide while far fewer inputs
    were seen than would show a rare loss of that size.
    """

    alpha: float
    scale: float

    def evidence(self, values: Array, bound: float) -> Array:
        """After each of the values (n,): by how much the mean is surely more than `bound` (n,)."""
        n = np.arange(1.0, len(values) + 1)
        mean = np.cumsum(values) / n
        variance = np.maximum(np.cumsum(values**2) / n - mean**2, 0.0)
        return np.where(n < FEWEST, -np.inf, mean - self._half(n, variance) - bound)

    def until(self, values: Array, bound: float) -> float:
        """As `Bounded.until`."""
        mean, variance = float(values.mean()), float(values.var())
        return _first(lambda n: mean - float(self._half(np.array(n), np.array(variance))) - bound)

    def low(self, values: Array) -> float:
        """As `Bounded.low`; minus infinity for fewer than 100."""
        return float(self.evidence(values, 0.0)[-1])

    def _half(self, n: Array, variance: Array) -> Array:
        """How far the mean may be from the average of n values: the one-sided bound of its source."""
        level = -2 * math.log(2 * self.alpha)
        rho2 = (level + math.log(level + 1)) / (_TIGHTEST * self.scale**2)
        grown = n * variance * rho2 + 1
        found: Array = np.sqrt(2 * grown / (n**2 * rho2) * np.log1p(np.sqrt(grown) / (2 * self.alpha)))
        return found


def _wealth(logs: Array) -> Array:
    """The logarithm of the wealth of all stakes (n,) from those of single ones (12, n)."""
    logs = logs + _SPLIT[:, None]
    most = logs.max(axis=0)
    found: Array = most + np.log(np.exp(logs - most).sum(axis=0))
    return found


def _first(rising: Any) -> float:
    """The least number from which on a function that rises in the end is at least 0."""
    if rising(_MOST) < 0:
        return math.inf
    low, high = 1, _MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rising(middle) >= 0 else (middle + 1, high)
    return low
