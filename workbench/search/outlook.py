"""What a recipe that is not built is expected to come to, in the columns of `Study.frame()`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.measure.evaluation import CHANGE, VALIDATION
from workbench.recipe import Recipe

if TYPE_CHECKING:
    from workbench.plan import Plan
    from workbench.tasks import Metric
    from workbench.variant import Variant

#: Columns that a plan tells as they are.
PLANNED = ("macs", "params", "memory_access_bytes", "peak_activation_bytes", "file_bytes", "compressed_bytes")


def outlook(plan: Plan, baseline: Variant, metric: Metric, loss: float = math.nan) -> dict[str, float]:
    """The figures of a plan's recipe as far as they are known before it is built.

    Milliseconds are the original's, as measured, over the predicted speed-up. `loss` is what is expected to be lost of
    the study's metric, where that is known; without it, what becomes of the answers is left out.
    """
    after = plan.latency_ms
    times = Recipe().plan(baseline.model).latency_ms / after if after else math.nan
    found = {name: float(getattr(plan, name)) for name in PLANNED}
    found |= {"predicted_speedup": times, "speedup": times, "latency_ms": baseline["latency_ms"].value / times}
    if math.isnan(loss):
        return found
    change = -loss if metric.more_is_better else loss
    for name in (metric.name, f"{VALIDATION}{metric.name}"):
        if name in baseline.estimates:
            found |= {name: baseline[name].value + change, f"{name}{CHANGE}": change}
    return found
