"""Figures of a variant in words, each said with its uncertainty."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from workbench.charts import COLUMNS, column, lower
from workbench.estimate import Estimate
from workbench.frames.frame import EXACT
from workbench.measure.wording import signed
from workbench.report.words import verdict
from workbench.tasks.unlabelled import APART
from workbench.variant import Variant

#: The figures of which less is better, and a ratio says how much.
COSTS = frozenset({*EXACT, "latency_ms"} - {"predicted_speedup"})


def arrived(variant: Variant, original: Variant | None) -> str:
    """What a variant that was just measured is, in one sentence."""
    if original is None or variant.id == original.id:
        latency = COLUMNS["latency_ms"].text(variant["latency_ms"].value)
        return f"The original is measured: {_judged(variant)}{latency} an image."
    return f"{variant.name}: {verdict(variant, original)}"


def _judged(variant: Variant) -> str:
    """What the original is worth, before its latency: nothing where it is compared with itself."""
    task = variant.data.task
    name = task.principal.name if task is not None else "accuracy"
    if name not in variant.estimates or name in APART:
        return ""
    value = column(name).text(variant[name].value)
    return f"{value} of the test images right, " if name == "accuracy" else f"{lower(column(name).label)} {value}, "


def trend(change: Estimate, more_is_better: bool) -> str:
    """Whether a change is better or worse; neither where its interval holds none."""
    if change.holds(0):
        return ""
    return "wb-better" if (change.value > 0) is more_is_better else "wb-worse"


def times(before: float, after: float) -> tuple[str, str]:
    """How a cost changed, such as `2.00× less`, and whether that is better, worse or neither: the one way to say it.

    What would read as `1.00×` is no change that anyone could see, so it is neither.
    """
    if before == after:
        return "same", ""
    if not before:
        return "none before", ""
    if after == 0:
        return "none left", "wb-better"
    factor = f"{max(before, after) / min(before, after):.2f}×"
    if factor == "1.00×":
        return "about the same", ""
    return (f"{factor} less", "wb-better") if after < before else (f"{factor} more", "wb-worse")


def change(name: str, before: Estimate, after: Estimate) -> tuple[str, str]:
    """How a figure changed of which no paired difference is known, and whether that is better, worse or neither.

    A cost as a ratio; of all others the difference, without a judgement: no interval says whether it is one.
    """
    shown = column(name)
    if name in COSTS:
        return times(before.value, after.value)
    if name.endswith("speedup"):
        return f"{after.value / before.value:.2f}×", ""
    if shown.unit == "%":
        return f"{signed(100 * (after.value - before.value))} points", ""
    sign = "−" if after.value < before.value else "+"
    return f"{sign}{shown.number(abs(after.value - before.value))}", ""


def unfolded(error: BaseException | None) -> list[str]:
    """What went wrong and where, for a report: the error, then each call up to it, the last one first.

    Files are named by their last two parts: a published page tells nobody how its machine is laid out.
    """
    if error is None:
        return []
    calls = [
        f"{'/'.join(PurePath(call.filename).parts[-2:])}, line {call.lineno}, in {call.name}"
        for call in reversed(traceback.extract_tb(error.__traceback__))
    ]
    cause = [f"because of {type(error.__cause__).__name__}: {error.__cause__}"] if error.__cause__ else []
    return [f"{type(error).__name__}: {error}", *cause, *calls]
