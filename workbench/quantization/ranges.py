"""From the distribution of an activation to the range that 256 steps should cover.

Clipping rare large values buys finer steps for all others. Every range contains 0, so that padding
and ReLU are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.jobs import Reporter
from workbench.quantization.observe import Histogram, clipped, extremes, histograms

Array = npt.NDArray[Any]
Range = tuple[float, float]

LEVELS = 256
#: The share of values that "percentile" keeps inside the range.
PERCENTILE = 0.9999
#: Bins of the histogram that "entropy" compares.
_COARSE = 512
#: Shares of the full range that the searches try.
_SHRINK = tuple(float(share) for share in np.linspace(1.0, 0.2, 81))


def activation_ranges(model: onnx.ModelProto, inputs: Any, method: str, progress: Reporter) -> dict[str, Range]:
    """The range of every float activation of a graph over inputs (N, ...), by one of `METHODS`.

    Raises: `StepFailed` when an activation is not finite; `Cancelled`.
    """
    if method == "minmax":
        ranges = extremes(model, inputs, progress)
    else:
        choose = METHODS[method]
        ranges = {name: choose(one) for name, one in histograms(model, inputs, progress).items()}
    for before, after in clipped(model).items():
        if after in ranges:
            ranges[before] = ranges[after]
    return ranges


def minmax(histogram: Histogram) -> Range:
    """Everything that was seen."""
    return min(0.0, histogram.low), max(0.0, histogram.high)


def percentile(histogram: Histogram) -> Range:
    """All but the outermost 0.01 % of the values, half of these on each side that has any."""
    total = histogram.counts.sum()
    share = np.concatenate([[0.0], np.cumsum(histogram.counts) / max(1, total)])
    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    tail = (1 - PERCENTILE) / (2 if histogram.low < 0 < histogram.high else 1)
    low = edges[np.searchsorted(share, tail, side="right") - 1] if histogram.low < 0 else 0.0
    high = edges[np.searchsorted(share, 1 - tail)] if histogram.high > 0 else 0.0
    return min(0.0, float(low)), max(0.0, float(high))


def mse(histogram: Histogram) -> Range:
    """The range with the least mean squared error of rounding and clipping together."""
    return _search(histogram, _squared_error)


def entropy(histogram: Histogram) -> Range:
    """The range whose quantized distribution diverges least (Kullback-Leibler) from the true one.

    Zero is always expressed exactly, so the bin that holds it (half of all values after a ReLU) counts
    no more than its neighbours. Coarse bins keep the noise of few samples, which finer steps would follow,
    from being taken for information. Source: Migacz 2017, "8-bit inference with TensorRT".
    """
    counts = histogram.counts.reshape(_COARSE, -1).sum(axis=1)
    histogram = replace(histogram, counts=counts)
    zero = int(np.argmin(np.abs(histogram.centres)))
    counts[zero] = max(counts[max(0, zero - 1)], counts[min(len(counts) - 1, zero + 1)])
    return _search(replace(histogram, counts=counts), _divergence)


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "minmax": minmax,
    "entropy": entropy,
    "percentile": percentile,
    "mse": mse,
}


def _search(histogram: Histogram, loss: Callable[[Histogram, float, float], float]) -> Range:
    """The shrunken range of least loss; first both ends together, then each alone."""
    low, high = minmax(histogram)
    if low == high:
        return low, high
    best = min(((low * s, high * s) for s in _SHRINK), key=lambda r: loss(histogram, *r))
    if low < 0 < high:
        best = min(((low * s, best[1]) for s in _SHRINK), key=lambda r: loss(histogram, *r))
        best = min(((best[0], high * s) for s in _SHRINK), key=lambda r: loss(histogram, *r))
    return best


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    scale = (high - low) / (LEVELS - 1)
    if scale == 0:
        return float("inf")
    zero = np.rint(-low / scale)
    values = histogram.centres
    rounded = (np.clip(np.rint(values / scale) + zero, 0, LEVELS - 1) - zero) * scale
    return float(histogram.counts @ (values - rounded) ** 2)


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """KL(P || Q): P is the histogram with outliers moved to the ends, Q is what 256 levels can express."""
    inside = (histogram.centres >= low) & (histogram.centres <= high)
    if inside.sum() < LEVELS:
        return float("inf")
    counts = histogram.counts[inside].astype(np.float64)
    first, last = np.flatnonzero(inside)[[0, -1]]
    true = counts.copy()
    true[0] += histogram.counts[:first].sum()
    true[-1] += histogram.counts[last + 1 :].sum()
    group = np.arange(len(counts)) * LEVELS // len(counts)
    filled = counts > 0
    sums = np.bincount(group, weights=counts, minlength=LEVELS)
    sizes = np.bincount(group, weights=filled, minlength=LEVELS)
    expressed = np.divide(sums[group], sizes[group], out=np.zeros_like(counts), where=filled)
    p, q = true / true.sum(), expressed / max(1.0, expressed.sum())
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))))
