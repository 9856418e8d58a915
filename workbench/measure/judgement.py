"""Whether a measured speed-up bears out the predicted one: the one judgement that verdicts and charts share."""

from __future__ import annotations

#: A prediction this near to the measurement is borne out (relative).
NEAR = 0.15
#: A prediction this far from 1 says that a variant is faster, or slower; one that turns out otherwise is not borne out.
LEAST = 0.05
AS_PREDICTED, FASTER, SLOWER = "As predicted", "Faster than predicted", "Slower than predicted"


def judge(low: float, high: float, predicted: float) -> str:
    """What a measured interval from `low` to `high` makes of a prediction, in three words or fewer."""
    if high < predicted * (1 - NEAR) or high < 1 < predicted * (1 - LEAST):
        return SLOWER
    return FASTER if low > predicted * (1 + NEAR) or low > 1 > predicted * (1 + LEAST) else AS_PREDICTED
