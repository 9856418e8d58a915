"""Differences between two variants in words, each with its interval: the one way in which every door says them."""

from __future__ import annotations

from workbench.estimate import Estimate

#: What a difference is called whose interval holds none.
UNSURE = "not distinguishable"


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, the minus as a reader expects it; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(f"{value:.{digits}f}") else text[1:]


def points(change: Estimate, digits: int = 2) -> str:
    """A change of a share in points with its interval: `−0.50 points (−0.78 to −0.23)`."""
    value, low, high = (signed(100 * end, digits) for end in (change.value, change.low, change.high))
    return f"{value} points ({low} to {high})"


def difference(change: Estimate, unit: str) -> str:
    """A change with its interval: of a share, whose unit is %, in points; of anything else in its own unit."""
    if unit == "%":
        return points(change)
    value, low, high = (f"{end:+.3g}".replace("-", "−") for end in (change.value, change.low, change.high))
    return f"{f'{value} {unit}'.rstrip()} ({low} to {high})"


def accuracy(change: Estimate) -> str:
    """A paired change of accuracy: `0.50 points less accurate (0.23 to 0.78)`, or that it may be none."""
    if change.holds(0):
        return f"accuracy {UNSURE} ({points(change)})"
    low, high = sorted((abs(change.low), abs(change.high)))
    more = "more" if change.value > 0 else "less"
    return f"{100 * abs(change.value):.2f} points {more} accurate ({100 * low:.2f} to {100 * high:.2f})"


def quality(change: Estimate, measure: str) -> str:
    """A paired change of a share, accuracy or another: as `accuracy`, or in points of what it is."""
    if measure == "accuracy":
        return accuracy(change)
    return f"{measure} {UNSURE} ({points(change)})" if change.holds(0) else f"{measure} {points(change)}"


def lost(drop: Estimate, measure: str) -> str:
    """A paired loss of a share: `loses 0.50 points of accuracy (0.23 to 0.78)`, or gains where it surely does."""
    sign, verb = (-1, "gains") if drop.high < 0 else (1, "loses")
    low, high = sorted((sign * drop.low, sign * drop.high))
    ends = f"{_plain(low)} to {_plain(high)}"
    return f"{verb} {_plain(sign * drop.value)} points of {measure} ({ends})"


def _plain(share: float) -> str:
    return signed(100 * share).removeprefix("+")


def speed(ratio: Estimate, than: str = "the original") -> str:
    """A ratio in turns: `2.04× faster than the original (1.91 to 2.19)`, or that it may be 1."""
    if ratio.holds(1):
        return f"speed {UNSURE} from that of {than} ({ratio.low:.2f} to {ratio.high:.2f}×)"
    if ratio.value > 1:
        return f"{ratio.value:.2f}× faster than {than} ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"{1 / ratio.value:.2f}× slower than {than} ({1 / ratio.high:.2f} to {1 / ratio.low:.2f})"


def smaller(before: float, after: float) -> str:
    """How many times fewer bytes; "" where the difference is below one per cent."""
    ratio = before / after
    if abs(ratio - 1) < 0.01:
        return ""
    return f"{ratio:.2f}× smaller" if ratio > 1 else f"{1 / ratio:.2f}× larger"
