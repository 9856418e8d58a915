"""A measured number that cannot lose its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, the number of observations behind it, and its unit.

    An exact count has `low == value == high` and `n == 1`.
    """

    value: float
    low: float
    high: float
    n: int = 1
    unit: str = ""

    def overlaps(self, other: Estimate) -> bool:
        """True when the two intervals share a point: the difference is not distinguishable."""
        return self.low <= other.high and other.low <= self.high

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
