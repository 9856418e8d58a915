"""From harm to the figure that the study is judged by: a line through what was measured, anew after every result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.search.harm import KINDS, Harm

#: How much the common factor of both kinds weighs against what single results say.
PULL = 0.3
#: Results this near to the limit (in the figure's own unit, as a share of the limit) count twice those far from it.
NEAR = 0.5
#: What an empty change is taken to lose or gain at most, as a share of the limit: where the line may begin.
OFFSET = 0.5


@dataclass(frozen=True)
class Result:
    """What a selection did: its harm by kind before any factor, and what was lost of the study's figure."""

    parts: tuple[float, float]
    loss: float


@dataclass(frozen=True)
class Forecast:
    """`loss = start + harm`, with the factors of `harm` chosen so that this is nearest to all results."""

    harm: Harm
    start: float = 0.0

    def loss(self, parts: tuple[float, float]) -> float:
        """What a selection with these parts of harm is expected to lose."""
        return self.start + sum(self.harm.factors[kind] * part for kind, part in zip(KINDS, parts, strict=True))

    @classmethod
    def of(cls, harm: Harm, results: Sequence[Result], limit: float) -> Forecast:
        """The line of non-negative slopes through the results, near the limit above all.

        Few results say little of each kind apart, so both slopes are pulled towards a common one.
        """
        from scipy.optimize import nnls

        parts = np.array([one.parts for one in results], float).reshape(-1, 2)
        if not len(parts) or parts.sum() <= 0:
            return cls(harm)
        unit = limit if 0 < limit < np.inf else max(max(abs(one.loss) for one in results), 1e-6)
        lost = np.array([one.loss for one in results]) + OFFSET * unit
        weights = 1 / (np.abs(lost - OFFSET * unit - unit) + NEAR * unit)
        rows = np.column_stack([np.full(len(parts), OFFSET * unit), parts])
        whole = parts.sum(axis=1)
        common = max(float((whole * weights) @ (lost - OFFSET * unit) / ((whole * weights) @ whole)), 1e-9)
        pull = PULL * np.array([OFFSET * unit, *np.sqrt((parts**2).mean(axis=0))]) * weights.mean()
        aim = pull * np.array([1.0, common, common])
        found, _ = nnls(np.vstack([rows * weights[:, None], np.diag(pull)]), np.concatenate([lost * weights, aim]))
        slopes = np.maximum(found[1:], 1e-3 * common)
        factors = dict(zip(KINDS, map(float, slopes), strict=True))
        return cls(replace(harm, factors=factors), float((found[0] - 1) * OFFSET * unit))
