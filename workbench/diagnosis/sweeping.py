"""Throughput over batch sizes and threads, and the best point under a limit on latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadValue
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.latency import interleave

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "batch", "threads",
    *(f"{name}{end}" for name in ("latency_ms", "throughput") for end in ("", "_low", "_high")),
    "allowed", "best",
)  # fmt: skip


def sweep(
    artefact: Path,
    batch: Sequence[int],
    threads: Sequence[int],
    *,
    seconds: float = 1.0,
    limit_ms: float | None = None,
    progress: Reporter | None = None,
) -> pd.DataFrame:
    """One row a batch size and thread count, in the order given.

    Columns: `latency_ms` of a whole batch and `throughput`, inputs a second, each with `_low` and `_high`; `allowed`,
    whether the batch surely takes no longer than `limit_ms` (the upper end of its interval; without a limit all are);
    `best`, the allowed point of the highest throughput: one row, or none where nothing is allowed.

    Raises: `BadValue` for batches, threads, seconds or a limit that make no sense, or more threads than there are
    processors; `MeasurementFailed`, such as for a file of a fixed batch; `Cancelled`.
    """
    import pandas as pd

    if not batch or not threads or (limit_ms is not None and not limit_ms > 0):
        raise BadValue(
            f"batch={tuple(batch)}, threads={tuple(threads)}, limit_ms={limit_ms}: give at least one of each, and a "
            "limit above 0."
        )
    report, points = progress or Reporter(), [(one, count) for count in threads for one in batch]
    rows = []
    for index, (size, count) in enumerate(points):
        part = report.part(index / len(points), (index + 1) / len(points))
        latency = interleave([artefact], batch=size, threads=count, seconds=seconds, progress=part).latency(0)
        rows.append((size, count, *_ends(latency), *_ends(_throughput(latency, size))))
    frame = pd.DataFrame(rows, columns=list(COLUMNS[:-2]))
    frame["allowed"] = True if limit_ms is None else frame["latency_ms_high"] <= limit_ms
    allowed = frame.loc[frame["allowed"], "throughput"]
    frame["best"] = frame.index == (allowed.idxmax() if len(allowed) else -1)
    frame.attrs["limit_ms"] = limit_ms
    return frame


def _throughput(latency: Estimate, batch: int) -> Estimate:
    """Inputs a second: the ends of the interval change places."""
    value, low, high = (1000 * batch / one for one in (latency.value, latency.high, latency.low))
    return Estimate(value, low, high, latency.n, "1/s")


def _ends(one: Estimate) -> tuple[float, float, float]:
    return one.value, one.low, one.high
