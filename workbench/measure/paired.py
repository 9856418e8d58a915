"""Paired comparison: what two artefacts did on the same inputs, and the difference with its own interval.

Most of what two variants of one network get right they both get right, so the difference between them is known far
better than either figure: intervals that overlap say nothing about it. What a comparison needs is kept with each
variant as a `Sample`, small enough for the row of a database.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import BadFile, BadValue, MeasurementFailed
from workbench.estimate import Z95, Estimate, exact, paired_change, wilson

Array = npt.NDArray[Any]

RESAMPLES = 2000
#: Fewer resamples than this have no percentiles worth the name: their spread gives the interval.
FEW = 100
_AT_ONCE = 50  # resamples drawn together: bounds the memory
_MARKS, _RESAMPLES = "marks", "resamples"


@dataclass(frozen=True, eq=False)
class Sample:
    """A figure on `n` inputs, with what a comparison on the same inputs needs.

    `values` are marks (n,), True where an input is right and the figure is their share; or the figure on resamples
    of the inputs (k,). Resample number i holds the same inputs for every sample of as many inputs.
    """

    n: int
    value: float
    values: Array
    unit: str = ""

    @classmethod
    def of_marks(cls, marks: Array, unit: str = "") -> Sample:
        """From what is right and what is wrong (n,)."""
        marks = np.asarray(marks, bool)
        return cls(len(marks), float(marks.mean()), marks, unit)

    @property
    def has_marks(self) -> bool:
        """Whether single inputs are known to be right or wrong."""
        return self.values.dtype == np.bool_

    @property
    def estimate(self) -> Estimate:
        """The figure with its 95 % interval: Wilson's for a share of inputs, the bootstrap's for others."""
        if self.has_marks:
            share = wilson(int(self.values.sum()), self.n)
            return Estimate(share.value, share.low, share.high, share.n, self.unit)
        return _interval(self.value, self.values, self.n, self.unit)

    @cached_property
    def resampled(self) -> Array:
        """The figure on resamples of the inputs (k,)."""
        if not self.has_marks:
            return self.values
        marks = self.values.astype(np.float64)
        return np.concatenate([times @ marks for times in draws(self.n, RESAMPLES)]) / self.n

    def change_to(self, other: Sample) -> Estimate:
        """How much more `other` has on the same inputs, with a 95 % interval.

        Tango's for shares of inputs; for other figures the difference is taken on each resample (a paired
        bootstrap). Raises: `BadValue` for other inputs.
        """
        if self.n != other.n:
            raise BadValue(f"{self.n} and {other.n} inputs are not the same inputs, so there is no paired difference.")
        if self.has_marks and other.has_marks:
            lost, gained = int((self.values & ~other.values).sum()), int((~self.values & other.values).sum())
            found = paired_change(lost, gained, self.n)
            return Estimate(found.value, found.low, found.high, self.n, self.unit)
        count = min(len(self.resampled), len(other.resampled))
        differences = other.resampled[:count] - self.resampled[:count]
        return _interval(other.value - self.value, differences, self.n, self.unit)

    def write(self) -> str:
        """A line of text: a bit for an input, or four bytes for a resample."""
        content = np.packbits(self.values) if self.has_marks else self.values.astype("<f4")
        kind = _MARKS if self.has_marks else _RESAMPLES
        return json.dumps([kind, self.n, self.value, self.unit, base64.b85encode(content.tobytes()).decode()])

    @classmethod
    def read(cls, text: str) -> Sample:
        """The sample that `write` wrote. Raises: `BadFile` for anything else."""
        try:
            kind, n, value, unit, coded = json.loads(text)
            content = base64.b85decode(coded)
            if kind == _MARKS:
                bits = np.frombuffer(content, np.uint8)
                if 0 < n <= 8 * len(bits) < n + 8:
                    return cls.of_marks(np.unpackbits(bits, count=n), str(unit))
            elif kind == _RESAMPLES and n > 0 and math.isfinite(value):
                return cls(int(n), float(value), np.frombuffer(content, "<f4").astype(np.float64), str(unit))
        except (ValueError, TypeError, RecursionError) as error:
            raise BadFile(f"What was kept for paired comparison cannot be read: {error}. {_AGAIN}") from error
        raise BadFile(f"What was kept for paired comparison is no sample: {text[:40]!r}. {_AGAIN}")


_AGAIN = "Run the variant again in a new study."


def resample(parts: Array, combine: Callable[[Array], Array], unit: str = "") -> Sample:
    """The sample of `combine` of the sums of parts (n, k) over all inputs.

    Inputs are drawn with replacement (Efron and Tibshirani 1993, chapter 13). Raises: `MeasurementFailed`.
    """
    n = len(parts)
    found = [combine(times @ parts) for times in draws(n, RESAMPLES)] if n > 1 else []
    return sample(float(combine(parts.sum(axis=0))), np.concatenate(found) if found else np.zeros(0), n, unit)


def resample_whole(figure: Callable[[Array], float], n: int, count: int, unit: str = "") -> Sample:
    """The sample of a figure that is computed from all inputs at once: `figure` takes their numbers (n,).

    It is computed anew for `count` resamples of the inputs, fewer than of a figure that is known for each.
    """
    every, found = np.arange(n), []
    for times in draws(n, count) if n > 1 else ():
        found += [figure(np.repeat(every, count)) for count in times]
    return sample(figure(every), np.array(found), n, unit)


def sample(value: float, resamples: Array, n: int, unit: str) -> Sample:
    """A sample of a figure that must be a number. Raises: `MeasurementFailed` where it is none."""
    if not math.isfinite(value):
        raise MeasurementFailed(f"The metric is {value} on these inputs.")
    return Sample(n, value, resamples, unit)


def draws(n: int, count: int) -> Iterator[Array]:
    """How often each of n inputs is in a resample (at most 50, n), until there were `count` resamples.

    Always the same ones, on every machine and with every numpy: `RandomState` is frozen. Variants are compared
    resample by resample, and one that was measured a year ago must have met the same.
    """
    random = np.random.RandomState(0)
    for start in range(0, count, _AT_ONCE):
        size = min(_AT_ONCE, count - start)
        yield np.stack([np.bincount(random.randint(n, size=n), minlength=n) for _ in range(size)])


def _interval(value: float, found: Array, n: int, unit: str) -> Estimate:
    """The percentiles of resampled figures, or of few their spread; expanded for few inputs (Hesterberg 2015)."""
    found = found[np.isfinite(found)]
    if not len(found):  # one input says nothing about the spread
        return exact(value, unit)
    if len(found) < FEW:
        away = math.sqrt(n / (n - 1)) * _t95(n - 1) * float(found.std())
        return Estimate(value, value - away, value + away, n, unit)
    level = NormalDist().cdf(-math.sqrt(n / (n - 1)) * _t95(n - 1))
    low, high = np.quantile(found, [level, 1 - level])
    return Estimate(value, min(float(low), value), max(float(high), value), n, unit)


def _t95(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, from the normal one (Abramowitz and Stegun 1964, 26.7.5)."""
    z, f = Z95, freedom
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / f + second / (f * f) + third / (f * f * f)
