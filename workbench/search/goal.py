"""What a search is asked for: what to make small, under which limits, in how much time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import BadValue, unknown
from workbench.frames.limits import Limit, named, read_limits
from workbench.measure.evaluation import VALIDATION

if TYPE_CHECKING:
    from workbench.plan import Plan
    from workbench.tasks import Metric
    from workbench.variant import Variant

#: What can be made small, and its word; each is a figure of the plan, so that it is known before anything is built.
SMALL = {"latency_ms": "latency", "macs": "MACs", "params": "parameters"}
#: Figures that can be limited, beside what the study is judged by; a number up to 1 of the first is a share.
SHARED = ("macs", "params", "latency_ms", "file_bytes", "compressed_bytes", "memory_access_bytes")
PLANNED = (*SHARED, "peak_activation_bytes", "speedup")
_BASELINE = re.compile(
    r"baseline\s*(?:(?P<sign>[-−+])\s*(?P<number>[\d.]+)\s*(?P<unit>%|points?)?)?\s*$", re.IGNORECASE
)
_MINUTES = {"s": 1 / 60, "sec": 1 / 60, "min": 1.0, "h": 60.0}


@dataclass(frozen=True)
class Goal:
    """What to minimise, how much may be lost of the study's metric, and the limits on figures that plans tell.

    `floor`: at least so much of the metric (at most, where less is better); `loss`: so much worse than the original.
    """

    minimise: str = "latency_ms"
    loss: float | None = None
    floor: float | None = None
    limits: tuple[Limit, ...] = ()

    def allowed(self, baseline: Variant, metric: Metric) -> float:
        """How much may be lost of the metric on the split that choices are made on; infinite without a limit."""
        before = quality(baseline, metric.name)
        lost = [] if self.loss is None else [self.loss]
        if self.floor is not None:
            lost.append(before - self.floor if metric.more_is_better else self.floor - before)
        return min(lost, default=float("inf"))

    def prices(self, before: Plan) -> dict[str, float]:
        """The limits that a choice from the menu keeps to, in absolute numbers."""
        found: dict[str, float] = {}
        for one in self.limits:
            if one.column == "speedup":
                name, most = "latency_ms", before.latency_ms / one.value
            elif one.column in SMALL:
                name, most = one.column, _absolute(one, before)
            elif one.column == "file_bytes":
                name, most = "weight_bytes", _absolute(one, before)
            elif one.column == "peak_activation_bytes":
                name, most = "peak_bytes", one.value
            else:
                continue
            found[name] = min(most, found.get(name, most))
        return found

    def met_by(self, plan: Plan, before: Plan) -> bool:
        """Whether a plan keeps to all limits on what it tells."""
        return all(self._met(one, plan, before) for one in self.limits)

    @staticmethod
    def _met(limit: Limit, plan: Plan, before: Plan) -> bool:
        if limit.column == "speedup":
            return before.latency_ms / plan.latency_ms >= limit.value
        return float(getattr(plan, limit.column)) <= _absolute(limit, before)


def _absolute(limit: Limit, before: Plan) -> float:
    """A limit in its column's unit: a number up to 1 is a share of what the original has."""
    if limit.column in SHARED and 0 < limit.value <= 1 and limit.column != "latency_ms":
        return limit.value * float(getattr(before, limit.column))
    return limit.value


def quality(variant: Variant, metric: str) -> float:
    """A variant's figure on the split that choices are made on."""
    name = f"{VALIDATION}{metric}"
    if name not in variant.estimates:
        raise BadValue(
            f"A search chooses on the 'validation' split, and {variant.data.name} has none. Give wb.data a "
            "'validation' or a 'train' split; the test split only reports."
        )
    return variant[name].value


def goal_of(minimise: str, where: str | Sequence[str], metric: Metric) -> Goal:
    """Read what a user asks for: `"accuracy >= baseline - 0.01"`, `"speedup >= 3"`, `"params <= 0.3"`.

    Raises: `UnknownName` for a figure that cannot be minimised or limited; `BadValue` for a limit that cannot be read.
    """
    column = named(minimise)
    if column not in SMALL:
        raise unknown("figure to minimise", minimise, SMALL)
    loss, floor, limits = None, None, []
    for text in [where] if isinstance(where, str) else where:
        for part in filter(None, re.split(r"\s+and\s+|\s*&\s*", str(text).strip())):
            relative = _relative(part, metric)
            if relative is not None:
                loss = relative if loss is None else min(loss, relative)
                continue
            (limit,) = read_limits(part)
            if limit.column == metric.name:
                floor = limit.value
            else:
                limits.append(_planned(limit, part))
    return Goal(column, loss, floor, tuple(limits))


def _relative(text: str, metric: Metric) -> float | None:
    """How much may be lost where a limit is relative to the original; None for another limit."""
    left, _, right = text.partition(">=" if metric.more_is_better else "<=")
    match = _BASELINE.search(right.strip()) if right else None
    if match is None:
        if "baseline" in text.casefold():
            sign = ">= baseline - 0.01" if metric.more_is_better else "<= baseline + 0.01"
            raise BadValue(f"The limit {text.strip()!r} cannot be read. Write it as '{metric.name} {sign}'.")
        return None
    if named(left) != metric.name:
        raise BadValue(f"The limit {text.strip()!r} is not on {metric.word}, which this study is judged by.")
    amount = float(match["number"] or 0) * (0.01 if match["unit"] else 1.0)
    better = (match["sign"] == "+") == metric.more_is_better and match["sign"] is not None
    return -amount if better else amount


def _planned(limit: Limit, text: str) -> Limit:
    if limit.column not in PLANNED:
        raise unknown("figure to limit", limit.column, PLANNED)
    if limit.comparison not in ({">=", ">"} if limit.column == "speedup" else {"<=", "<"}):
        raise BadValue(f"The limit {text.strip()!r} asks for more of what a search makes smaller. Turn it round.")
    if limit.value <= 0:
        raise BadValue(f"The limit {text.strip()!r} leaves nothing: give a positive number.")
    return limit


def minutes_of(budget: str | float) -> float:
    """Minutes of `"10 min"`, `"90 s"`, `"1.5 h"`, or of a number of minutes. Raises: `BadValue`."""
    match = re.fullmatch(r"\s*([\d.]+)\s*([a-z]*)\s*", str(budget).lower())
    unit = "" if match is None else match[2].rstrip("s") or ("s" if match[2] else "")
    known = {"": 1.0, "minute": 1.0, "hour": 60.0, "second": 1 / 60, **_MINUTES}
    if match is None or unit not in known or match[1].count(".") > 1 or not 0 < float(match[1]) < 1e6:
        raise BadValue(f"budget={budget!r}: give the time that the search may take, such as '10 min' or '1.5 h'.")
    return float(match[1]) * known[unit]


def lost(baseline: Variant, variant: Variant, metric: Metric) -> float:
    """How much worse a variant is than the original where choices are made, in the metric's unit."""
    before, after = (quality(one, metric.name) for one in (baseline, variant))
    return before - after if metric.more_is_better else after - before
