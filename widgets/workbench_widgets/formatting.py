"""Figures of a variant in words, each said with its uncertainty."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from workbench.charts import COLUMNS, column, lower
from workbench.estimate import Estimate
from workbench.frames.frame import EXACT
from workbench.measure.evaluation import CHANGE, VALIDATION
from workbench.measure.wording import UNSURE, accuracy, signed, smaller, speed
from workbench.measure.wording import difference as worded
from workbench.tasks.unlabelled import AGREEMENT, APART, ERROR
from workbench.variant import Variant

UNPAIRED = "not compared on the same images"
#: By this factor more than the file itself something must shrink to be named beside it.
WORTH_SAYING = 1.1
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


def verdict(variant: Variant, original: Variant) -> str:
    """Speed, quality and size against the original, in one sentence."""
    parts = [speed(variant["speedup"]), *_quality(variant, original), *_sizes(variant, original)]
    return f"{parts[0][:1].upper()}{', '.join(parts)[1:]}."


def _quality(variant: Variant, original: Variant) -> list[str]:
    """What became of the figure that variants are judged by, on the same inputs; or that it was not compared so."""
    if "accuracy_change" in variant.estimates:
        return [accuracy(variant["accuracy_change"])]
    if AGREEMENT.name in variant.estimates:
        share = variant[AGREEMENT.name]
        interval = f"{100 * share.low:.2f} to {100 * share.high:.2f}"
        return [f"{100 * share.value:.2f} % of its answers are the original's ({interval})"]
    if ERROR.name in variant.estimates:
        off = variant[ERROR.name]
        return [f"its outputs are off by {100 * off.value:.2f} % ({100 * off.low:.2f} to {100 * off.high:.2f})"]
    for name in variant.estimates:
        if name.endswith(CHANGE) and not name.startswith(VALIDATION):
            return [_moved(name.removesuffix(CHANGE), variant[name])]
    if "accuracy" in variant.estimates and "accuracy" in original.estimates:
        lost = variant["accuracy"].value - original["accuracy"].value
        return [f"accuracy {signed(100 * lost)} points ({UNPAIRED})"]
    return []


def _moved(name: str, change: Estimate) -> str:
    """A paired change of any figure."""
    label = lower(column(name).label)
    said = difference(name, change)
    return f"{label} {UNSURE} ({said})" if change.holds(0) else f"{label} {said}"


def difference(name: str, change: Estimate) -> str:
    """A paired change with its interval: a share in points, anything else in its own unit."""
    return worded(change, column(name).unit)


def trend(change: Estimate, more_is_better: bool) -> str:
    """Whether a change is better or worse; neither where its interval holds none."""
    if change.holds(0):
        return ""
    return "wb-better" if (change.value > 0) is more_is_better else "wb-worse"


def _sizes(variant: Variant, original: Variant) -> list[str]:
    """The file, and what is stored or sent of it where that shrinks by more than the file does."""
    file = original["file_bytes"].value / variant["file_bytes"].value
    parts = [f"a file {said}"] if (said := smaller(original["file_bytes"].value, variant["file_bytes"].value)) else []
    best = file
    for name, where in (("compressed_bytes", "compressed"), ("huffman_bytes", "as a bundle")):
        if name not in variant.estimates or name not in original.estimates:
            continue
        before, after = original[name].value, variant[name].value
        if before / after > WORTH_SAYING * max(best, 1.0):
            parts.append(f"{smaller(before, after)} {where}")
            best = before / after
    return parts


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


def compact(number: float) -> str:
    """Three digits and a letter for thousands, millions or billions: `658 k`, `2.16 M`."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def count(number: int, one: str, many: str) -> str:
    """`1 layer`, `3 layers`."""
    return f"{number} {one if number == 1 else many}"


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
