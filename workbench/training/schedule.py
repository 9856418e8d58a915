"""Learning rates over a run, as a share of the peak."""

from __future__ import annotations

from math import cos, pi

SCHEDULES = ("one-cycle", "cosine", "constant")
#: Where a one-cycle run has its peak: the rate rises over this share of the steps whatever the warm-up says.
PEAK = 0.25


def rate(schedule: str, step: int, steps: int, warmup: float = 0.0) -> float:
    """The share of the peak rate at `step` of `steps`; `warmup` is the share of steps over which it rises.

    "one-cycle" rises over a quarter of the steps and falls to zero as a cosine (Smith 2018), "cosine" falls
    from the start (Loshchilov & Hutter 2017), "constant" stays.
    """
    rise = max(warmup, PEAK if schedule == "one-cycle" else 0.0) * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + cos(pi * (step - rise) / max(steps - rise, 1)))
