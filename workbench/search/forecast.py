"""From harm to the figure that the study is judged by, and from predicted to measured speed: lines through what was
measured, anew after every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.search.harm import KINDS, Harm

if TYPE_CHECKING:
    from workbench.variant import Variant

#: How much the common factor of all kinds weighs against what single results say.
PULL = 0.3
#: A result this far from the limit (as a share of it) counts half as much as one that lies on it.
NEAR = 0.5
#: How far speeds are from those predicted: of one measurement, in common, and by how much more for faster ones (in
#: natural logarithms; the last for each unit of them).
NOISE, SHIFT, BEND = 0.05, 0.3, 0.2


@dataclass(frozen=True)
class Result:
    """What a selection did: its harm by kind before any factor, and what was lost of the study's figure."""

    parts: tuple[float, float, float]
    loss: float


@dataclass(frozen=True)
class Forecast:
    """`loss = start + harm`, with the factors of `harm` chosen so that this is nearest to all results.

    `start` is what is lost where nothing is chosen, such as by int8 alone.
    """

    harm: Harm
    start: float = 0.0

    def loss(self, parts: tuple[float, float, float]) -> float:
        """What a selection with these parts of harm is expected to lose."""
        return self.start + sum(self.harm.factors[kind] * part for kind, part in zip(KINDS, parts, strict=True))

    @classmethod
    def of(cls, harm: Harm, results: Sequence[Result], limit: float, start: float = 0.0) -> Forecast:
        """The slopes, none of them negative, that explain the results best, near the limit above all.

        Few results say little of each kind apart, so all slopes are pulled towards a common one; a kind that no result
        has any of is taken to be as the others are.
        """
        from scipy.optimize import nnls

        parts = np.array([one.parts for one in results], float).reshape(-1, len(KINDS))
        if not len(parts) or parts.sum() <= 0:
            return cls(harm, start)
        lost = np.array([max(one.loss - start, 0.0) for one in results])
        unit = limit if 0 < limit < np.inf else max(float(lost.max()), 1e-6)
        weights = 1 / (np.abs(lost + start - limit if np.isfinite(limit) else lost) + NEAR * unit)
        rows, whole = parts * weights[:, None], parts.sum(axis=1) * weights
        common = max(float(whole @ (lost * weights) / (whole @ whole)), 1e-9)
        pull = PULL * np.sqrt((rows**2).mean(axis=0))
        aim = pull * common
        found, _ = nnls(np.vstack([rows, np.diag(pull)]), np.concatenate([lost * weights, aim]))
        slopes = np.where(parts.any(axis=0), np.maximum(found, 1e-3 * common), common)
        return cls(replace(harm, factors=dict(zip(KINDS, map(float, slopes), strict=True))), start)


@dataclass(frozen=True)
class Pace:
    """The speed-up that is measured where another is predicted: `log(measured) = shift + slope log(predicted)`."""

    shift: float = 0.0
    slope: float = 1.0

    @classmethod
    def of(cls, variants: Sequence[Variant]) -> Pace:
        """What measurements say, held to the prediction as far as they are few."""
        pairs = [(one["predicted_speedup"].value, one["speedup"].value) for one in variants]
        predicted, measured = np.log(np.array([one for one in pairs if min(one) > 0], float).reshape(-1, 2)).T
        rows = np.column_stack([np.ones_like(predicted), predicted])
        rows = np.vstack([rows, np.diag([NOISE / SHIFT, NOISE / BEND])])
        (shift, more), *_ = np.linalg.lstsq(rows, np.append(measured - predicted, [0.0, 0.0]))
        return cls(float(shift), max(1.0 + float(more), 0.2))

    def measured(self, predicted: float) -> float:
        """The speed-up to expect."""
        return float(np.exp(self.shift) * predicted**self.slope)

    def predicted(self, measured: float) -> float:
        """The prediction of what will be measured as this."""
        return float((measured / np.exp(self.shift)) ** (1 / self.slope))
