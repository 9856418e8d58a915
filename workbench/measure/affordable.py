"""So many inputs as a network gets through in the time that there is, drawn at random."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from workbench.data import Data, Split
from workbench.data.batches import arrays, count, some
from workbench.jobs import Reporter
from workbench.runtimes import runtime

#: Of the time, what finding out the pace may take; and inputs below which an interval tells next to nothing.
SHARE, LEAST = 0.1, 50
#: Inputs at a time while the pace is found out.
FEW = 16


def affordable(artefact: Path, data: Data, minutes: float, report: Reporter) -> int:
    """How many test inputs an artefact gets through in so many minutes, beside its share of the validation split.

    Reading them is part of it. Never fewer than `LEAST`. Raises: `BadFile`, `Cancelled`.
    """
    test = data["test"]
    share = len(test) / (len(test) + len(data.get("validation") or ()))
    found = len(test)
    for done, seconds in _timed(artefact, _shuffled(test)):
        report(0.0, "finding out how many inputs there is time for")
        found = max(LEAST, int(60 * minutes * share * done / seconds))
        if seconds > 60 * minutes * SHARE:
            break
    return min(found, len(test))


def _timed(artefact: Path, split: Split) -> Iterator[tuple[int, float]]:
    """How many inputs are done, and in what time, after each batch; but for the first, which warms everything up."""
    session, done, begun = runtime().load(artefact), 0, 0.0
    for inputs, _ in split.batches(some(split, FEW)):
        session.run(arrays(inputs))
        if begun:
            done += count(inputs)
            yield done, time.perf_counter() - begun
        else:
            begun = time.perf_counter()


def drawn(data: Data, inputs: int) -> Data:
    """The same data with so many test inputs, and as large a part of the validation split; the same each time."""
    test, validation = data["test"], data.get("validation")
    if inputs >= len(test):
        return data
    splits = {**data.splits, "test": _shuffled(test).first(inputs)}
    if validation is not None:
        splits["validation"] = _shuffled(validation).first(-(-len(validation) * inputs // len(test)))
    note = (
        f"Judged on {inputs:,} of {len(test):,} test inputs, drawn at random for want of time; intervals are those of "
        "so many."
    )
    return replace(data, splits=splits, notes=(*data.notes, note))


def _shuffled(split: Split) -> Split:
    return split.take(torch.randperm(len(split), generator=torch.Generator().manual_seed(0)))
