"""Variants in words, each figure with its uncertainty: what screen and report say alike."""

from __future__ import annotations

from workbench.charts import column, lower
from workbench.estimate import Estimate
from workbench.measure.evaluation import CHANGE, VALIDATION
from workbench.measure.wording import UNSURE, accuracy, signed, smaller, speed
from workbench.measure.wording import difference as worded
from workbench.tasks.unlabelled import AGREEMENT, ERROR
from workbench.variant import Finished

UNPAIRED = "not compared on the same images"
#: By this factor more than the file itself something must shrink to be named beside it.
WORTH_SAYING = 1.1


def verdict(variant: Finished, original: Finished) -> str:
    """Speed, quality and size against the original, in one sentence."""
    parts = [speed(variant["speedup"]), *_quality(variant, original), *_sizes(variant, original)]
    return f"{parts[0][:1].upper()}{', '.join(parts)[1:]}."


def _quality(variant: Finished, original: Finished) -> list[str]:
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


def _sizes(variant: Finished, original: Finished) -> list[str]:
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


def compact(number: float) -> str:
    """Three digits and a letter for thousands, millions or billions: `658 k`, `2.16 M`."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def count(number: int, one: str, many: str) -> str:
    """`1 layer`, `3 layers`."""
    return f"{number} {one if number == 1 else many}"
