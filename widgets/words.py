"""Figures of a variant in words, each said with its uncertainty."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from workbench.charts import COLUMNS, column
from workbench.estimate import Estimate
from workbench.frame import EXACT
from workbench.variant import Variant

#: The figures of which less is better, and a ratio says how much.
COSTS = frozenset({*EXACT, "latency_ms"} - {"predicted_speedup"})


def arrived(variant: Variant, original: Variant | None) -> str:
    """What a variant that was just measured is, in one sentence."""
    if original is None or variant.id == original.id:
        latency = COLUMNS["latency_ms"].text(variant["latency_ms"].value)
        if "accuracy" not in variant.estimates:
            return f"The original is measured: {latency} an image."
        accuracy = COLUMNS["accuracy"].text(variant["accuracy"].value)
        return f"The original is measured: {accuracy} of the test images right, {latency} an image."
    return f"{variant.name}: {verdict(variant, original)}"


def verdict(variant: Variant, original: Variant) -> str:
    """Speed, accuracy and size against the original, in one sentence."""
    size = original["file_bytes"].value / variant["file_bytes"].value
    parts = [speed(variant["speedup"])]
    if "accuracy" in variant.estimates and "accuracy" in original.estimates:
        parts.append(accuracy(variant["accuracy"], original["accuracy"]))
    if abs(size - 1) >= 0.01:
        parts.append(f"a file {size:.1f}× smaller" if size > 1 else f"a file {1 / size:.2f}× larger")
    return f"{parts[0][:1].upper()}{', '.join(parts)[1:]}."


def speed(ratio: Estimate) -> str:
    """Faster or slower than the original, or neither where the interval holds 1."""
    if ratio.low <= 1 <= ratio.high:
        return f"speed not distinguishable from the original's ({ratio.low:.2f} to {ratio.high:.2f}×)"
    if ratio.value > 1:
        return f"{ratio.value:.2f}× faster than the original ({ratio.low:.2f} to {ratio.high:.2f})"
    slower = Estimate(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
    return f"{slower.value:.2f}× slower than the original ({slower.low:.2f} to {slower.high:.2f})"


def accuracy(now: Estimate, before: Estimate) -> str:
    """The difference in points; said not to be one where the intervals overlap."""
    points = 100 * (now.value - before.value)
    if now.overlaps(before):
        return f"accuracy not distinguishable ({signed(points)} points)"
    return f"{abs(points):.2f} points {'more' if points > 0 else 'less'} accurate"


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, the minus as a reader expects it."""
    return f"{value:+.{digits}f}".replace("-", "−")


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
    """How a figure changed, and whether that is better, worse or neither; shares in points, costs as ratios."""
    shown = column(name)
    if shown.unit == "%":
        return f"{signed(100 * (after.value - before.value))} points", ""
    if name.endswith("speedup"):
        return f"{after.value / before.value:.2f}×", ""
    if name in COSTS:
        return times(before.value, after.value)
    sign = "−" if after.value < before.value else "+"  # a figure of merit: its name does not tell what is better
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
