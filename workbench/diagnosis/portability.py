"""The portability matrix: one variant in every runtime that is installed, at several thread counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.building.build import asked
from workbench.data import Split
from workbench.data.batches import arrays
from workbench.devices.answered import Device
from workbench.errors import BadValue, Cancelled, WorkbenchError
from workbench.estimate import Estimate, paired_change, wilson
from workbench.exporters.pt2 import write_program
from workbench.jobs import Reporter
from workbench.measure.accuracy import in_batches
from workbench.measure.latency import Subject, interleave
from workbench.runtimes import DEFAULT, Runtime, available, runtime

if TYPE_CHECKING:
    import pandas as pd

    from workbench.variant import Variant

Array = npt.NDArray[Any]
MEASURED = ("accuracy", "accuracy_change", "disagreement", "latency_ms", "speedup")
COLUMNS = (
    "runtime", "threads",
    *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")),
    "largest_logit_difference", "note", "device", *(f"over_original{end}" for end in ("", "_low", "_high")),
)  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """What to run: test images, their class numbers (N,) or None, seconds of timing a cell, thread counts.

    `answers` makes answers of outputs; it is None where these are values.
    """

    images: Split
    labels: Array | None
    answers: Callable[[Array], Array] | None
    seconds: float
    threads: tuple[int, ...]


def portability(
    variant: Variant,
    runtimes: Sequence[str] | None = None,
    threads: Sequence[int] = (1,),
    *,
    images: int = 2000,
    seconds: float = 2.0,
    progress: Reporter | None = None,
) -> pd.DataFrame:
    """One row a runtime and thread count, the default runtime first.

    `runtimes`: names; None takes every installed one. `images`: of the test split, at most. Columns:
    `accuracy` of a classification; `accuracy_change` from the default runtime on the same images; `disagreement`, the
    share of answers that are not the default runtime's, where outputs are no values; `latency_ms` at batch 1;
    `speedup` over the default runtime at the same threads, taken in turns with it (each with `_low` and `_high`);
    `largest_logit_difference` from the default runtime at one thread; `note`, why a runtime refused. Numbers
    that were not taken are NaN.

    `device` is "", this machine; `with_devices` adds others.

    Raises: `UnknownName` or `BadValue` for a runtime that does not exist or is not installed, `BadValue`
    for thread counts or images that make no sense, `Cancelled`.
    """
    import pandas as pd

    chosen = list(available()) if runtimes is None else [runtime(name).name for name in runtimes]
    names = [DEFAULT, *(name for name in dict.fromkeys(chosen) if name != DEFAULT)]
    counts = tuple(threads)
    if not counts or min(counts) < 1 or images < 1:
        raise BadValue(f"threads={counts}, images={images}: give at least one thread count, and one image.")
    test, task = variant.data["test"].first(images), asked(variant.model, variant.data)
    labels = np.asarray(test.labels) if task.name == "classification" else None
    matrix = Matrix(variant, Ask(test, labels, task.answers, seconds, counts), progress or Reporter())
    with tempfile.TemporaryDirectory() as folder:
        rows = matrix.rows([runtime(name) for name in names], Path(folder))
    return pd.DataFrame([{"device": ""} | one for one in rows], columns=list(COLUMNS))


def with_devices(here: pd.DataFrame, variant: Variant, devices: Sequence[Device]) -> pd.DataFrame:
    """A variant's matrix with a row for each way that it was run on devices.

    Such a row has no `speedup`, since it was not timed in turns with this machine's runtime, but `over_original`, how
    many times faster than the original it is there; so has the default runtime at one thread. Its disagreement is
    counted on the inputs that the device was given.
    """
    import pandas as pd

    rows: list[dict[Any, Any]] = here.to_dict("records")
    for one in rows:
        if (one["runtime"], one["threads"]) == (DEFAULT, 1):
            one |= _ends("over_original", variant["speedup"])
    rows += [one for device in devices for one in _on_device(device, variant.id)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _on_device(device: Device, variant: str) -> list[dict[str, Any]]:
    answers, found = device.answers.get(variant), []
    for row in (one for one in device.rows if variant in one.variants):
        cells: dict[str, Any] = {"device": device.name, "runtime": row.runtime, "threads": row.threads}
        cells["note"] = row.note
        if variant in row.speedup:
            cells |= _ends("latency_ms", row.latency[variant]) | _ends("over_original", row.speedup[variant])
        if answers is not None and row is device.rows[0]:  # the first row's outputs were compared
            cells["largest_logit_difference"] = answers.largest
            cells |= _ends("disagreement", answers.disagreement) if answers.disagreement else {}
        found.append(cells)
    return found


@dataclass
class Matrix:
    """The work on one variant."""

    variant: Variant
    ask: Ask
    progress: Reporter
    reference: Array = field(default_factory=lambda: np.zeros(0))  # outputs of the default runtime at one thread

    def rows(self, runtimes: Sequence[Runtime], folder: Path) -> list[dict[str, Any]]:
        """One a runtime and thread count."""
        found = []
        for index, one in enumerate(runtimes):
            report = self.progress.part(index / len(runtimes), (index + 1) / len(runtimes))
            report(0.0, one.title)
            place = folder / one.name
            place.mkdir()
            try:
                file = one.convert(self._source(one, folder), place)
            except Exception as error:  # noqa: BLE001  # converters raise anything; the others go on
                found += [self._refused(one, count, error) for count in self.ask.threads]
                continue
            for number, count in enumerate(self.ask.threads):
                share = len(self.ask.threads)
                found.append(self._row(one, file, count, report.part(number / share, (number + 1) / share)))
        return found

    def _source(self, one: Runtime, folder: Path) -> Path:
        if one.source == ".onnx":
            return self.variant.onnx
        path = folder / "network.pt2"
        if not path.exists():
            write_program(self.variant, path)
        return path

    def _row(self, one: Runtime, file: Path, threads: int, report: Reporter) -> dict[str, Any]:
        row: dict[str, Any] = {"runtime": one.name, "threads": threads, "note": ""}
        try:
            values = self._outputs(one, file, threads, report.part(0.0, 0.5))
            if one.name == DEFAULT and self.reference.size == 0:
                self.reference = values
            row |= self._compare(values)
            row |= self._time(one, file, threads, report.part(0.5, 1.0))
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a foreign runtime raises; the others go on
            row |= self._refused(one, threads, error)
        return row

    def _refused(self, one: Runtime, threads: int, error: Exception) -> dict[str, Any]:
        if isinstance(error, Cancelled) or one.name == DEFAULT:
            raise error  # there is nothing to compare with
        why = str(error) if isinstance(error, WorkbenchError) else f"{one.title}: {one.reason(error)}"
        return {"runtime": one.name, "threads": threads, "note": why}

    def _outputs(self, one: Runtime, file: Path, threads: int, report: Reporter) -> Array:
        session = one.load(file, threads)
        # A runtime that compiles for each batch size does it here, where time does not count, and keeps the result.
        session.run(arrays(self.ask.images.example))
        return in_batches(session.run, self.ask.images, report)

    def _compare(self, values: Array) -> dict[str, Any]:
        if values.shape != self.reference.shape:
            raise BadValue(f"It returns shape {values.shape}; the default runtime returns {self.reference.shape}.")
        row: dict[str, Any] = {"largest_logit_difference": float(np.abs(values - self.reference).max())}
        if self.ask.answers is None:
            return row
        answers, expected = self.ask.answers(values), self.ask.answers(self.reference)
        row |= _ends("disagreement", wilson(int((answers != expected).sum()), answers.size))
        if self.ask.labels is not None:
            right, before = answers == self.ask.labels, expected == self.ask.labels
            change = paired_change(int((before & ~right).sum()), int((~before & right).sum()), len(right))
            row |= _ends("accuracy", wilson(int(right.sum()), len(right))) | _ends("accuracy_change", change)
        return row

    def _time(self, one: Runtime, file: Path, threads: int, report: Reporter) -> dict[str, Any]:
        """In turns with the default runtime, in a process of the pair's own: one that crashes there fails alone."""
        pair: list[Path | Subject] = [self.variant.onnx]
        if one.name != DEFAULT:
            pair.append(Subject(file, one.name))
        timings = interleave(pair, threads=threads, seconds=self.ask.seconds, progress=report)
        return _ends("latency_ms", timings.latency(len(pair) - 1)) | _ends("speedup", timings.speedup(len(pair) - 1))


def _ends(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
