"""What a recipe that is not built is expected to come to, in the columns of `Study.frame()`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.measure.evaluation import CHANGE, VALIDATION
from workbench.recipe import Recipe

if TYPE_CHECKING:
    from workbench.plan import Plan
    from workbench.search.found import Promise
    from workbench.tasks import Metric
    from workbench.variant import Variant

#: Columns that a plan tells as they are.
PLANNED = ("macs", "params", "memory_access_bytes", "peak_activation_bytes", "file_bytes", "compressed_bytes")


def outlook(plan: Plan, baseline: Variant, metric: Metric, promise: Promise | None = None) -> dict[str, float]:
    """The figures of a plan's recipe as far as they are known before it is built.

    Milliseconds are the original's, as measured, over the predicted speed-up, or over that which a search expects. What
    becomes of the answers only a search's `promise` tells.
    """
    after = plan.latency_ms
    planned = Recipe().plan(baseline.model).latency_ms / after if after else math.nan
    times = planned if promise is None else promise.speedup
    found = {name: float(getattr(plan, name)) for name in PLANNED}
    found |= {"predicted_speedup": planned, "speedup": times, "latency_ms": baseline["latency_ms"].value / times}
    if promise is None:
        return found
    change = -promise.loss if metric.more_is_better else promise.loss
    for name in (metric.name, f"{VALIDATION}{metric.name}"):
        if name in baseline.estimates:
            found |= {name: baseline[name].value + change, f"{name}{CHANGE}": change}
    return found
