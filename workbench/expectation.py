"""What a job will take, in time and memory: from what those before it took here, said as ranges."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from workbench.jobs import lasting
from workbench.meter import BYTES

Range = tuple[float, float]
#: How far off a part may be of whose kind nothing was measured: its effort alone tells of it.
_UNSEEN = 5.0
#: The same for the memory of a job with such a part.
_MORE = 3.0


@dataclass(frozen=True)
class Expectation:
    """Seconds, and bytes of memory beyond what the process has, each as (at least, at most).

    `unseen`: the kinds of work of which nothing was measured here yet; these make the ranges wide. `memory` is None
    where the system does not tell what a process takes.
    """

    seconds: Range
    memory: Range | None
    unseen: tuple[str, ...] = ()

    def __str__(self) -> str:
        low, high = (lasting(one) for one in self.seconds)
        said = f"About {low}" if low == high else f"{low} to {high}"
        if self.memory is not None:
            said += f" and up to {_size(self.memory[1])} of memory"
        said += ", by what jobs before took here"
        return f"{said}; {', '.join(self.unseen)} ran not yet." if self.unseen else f"{said}."


def expected(parts: Sequence[tuple[str, float]], before: Iterable[Mapping[str, float]]) -> Expectation | None:
    """What parts, each of a kind and an effort, will take. None where nothing was measured.

    `before`: for each job the seconds a unit of effort by kind, and its memory, as `Meter.taken` gives them. A kind
    that ran n times is expected between the least and the most that it took, and 1 + 1 / sqrt(n) beyond both.
    """
    jobs = [one for one in before if one]
    rates: dict[str, list[float]] = {}
    for job in jobs:
        for kind, rate in job.items():
            rates.setdefault(kind, []).append(rate)
    memory = rates.pop(BYTES, [])
    if not rates:
        return None
    usual = statistics.median(rate for each in rates.values() for rate in each)
    ranges = [_range(rates.get(kind), effort, usual) for kind, effort in parts]
    unseen = tuple(dict.fromkeys(kind for kind, _ in parts if kind not in rates))
    spread = _MORE if unseen else 1 + 1 / sqrt(max(1, len(memory)))
    return Expectation(
        (sum(low for low, _ in ranges), sum(high for _, high in ranges)),
        (min(memory) / spread, max(memory) * spread) if memory else None,
        unseen,
    )


def _range(seen: Sequence[float] | None, effort: float, usual: float) -> Range:
    """Seconds of one part."""
    if not seen:
        return effort * usual / _UNSEEN, effort * usual * _UNSEEN
    spread = 1 + 1 / sqrt(len(seen))
    return effort * min(seen) / spread, effort * max(seen) * spread


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 0.95e9 else f"{max(10, round(count / 1e6, -1)):.0f} MB"
