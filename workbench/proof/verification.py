"""What was written is read back, and must be what was measured: its bytes, its outputs, its figures."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data import Split
from workbench.data.batches import arrays, batches, some
from workbench.errors import ExportFailed, WorkbenchError
from workbench.estimate import Estimate
from workbench.exporters import Exporter
from workbench.files.content import digest
from workbench.measure.accuracy import BATCH
from workbench.measure.machine import machine
from workbench.runtimes import Session, runtime
from workbench.tasks.metric import Metric, Tally
from workbench.variant import Variant

Array = npt.NDArray[Any]

#: Inputs on which outputs are compared one by one, spread over the test split.
SAMPLE = 1000
#: The share of whole numbers among outputs, such as the places of boxes, that rounding may change.
FLIPPED = 1e-3
#: Figures of one file on one machine are the same; sums of them may round differently.
ROUNDING = 1e-9
#: How far a runtime that rounds integers by rules of its own may be from the measured outputs.
OWN_RULES = 0.1
_NOTHING = "Nothing was exported."


def verify(variant: Variant, target: Exporter, written: Path, folder: Path) -> dict[str, float]:
    """Compare what was written to `folder` with the measured artefact; the largest relative difference, the figure.

    A format that holds a measured file must give it back byte for byte. Outputs are compared on `SAMPLE` inputs, and
    the figure that the study is judged by on the whole test split: it must be equal where the file is the measured
    one, and within its interval for a conversion.
    Raises: `ExportFailed`.
    """
    if written.parent.resolve() != folder.resolve() or not written.is_file():
        raise ExportFailed(
            f"The format {target.name!r} gave {written} to be verified, which is no file of the folder that it was to "
            f"write to. {_NOTHING}"
        )
    with tempfile.TemporaryDirectory() as place:
        file, session = _loaded(target, written, Path(place))
        same = _check_bytes(variant, target, written, file)
        difference = _check_outputs(variant, target, written, session)
        found = {"largest_relative_difference": difference, **_check_figure(variant, written, session, same)}
    _check_reads_the_copy(variant, target, written)
    return found


def _loaded(target: Exporter, written: Path, place: Path) -> tuple[Path, Session]:
    """What is run of a written file. Raises: `ExportFailed`."""
    try:
        file = target.unpacked(written, place)
        return file, target.load(file)
    except ExportFailed:
        raise
    except WorkbenchError as error:
        raise ExportFailed(f"{written.name} cannot be read back: {error} {_NOTHING}") from error


def _check_bytes(variant: Variant, target: Exporter, written: Path, file: Path) -> bool:
    """Whether the format holds a measured file, which must be what comes back. Raises: `ExportFailed`."""
    measured = target.measured(variant)
    if measured is None:
        return False
    if digest(file) != digest(measured):
        sizes = f"{file.stat().st_size:,} bytes, {measured.stat().st_size:,} measured"
        raise ExportFailed(
            f"{written.name} does not give back the file that was measured, byte for byte ({sizes}). The disk or the "
            f"writer has changed it; export again. {_NOTHING}"
        )
    return file.suffix == variant.artefact.suffix


def _check_outputs(variant: Variant, target: Exporter, written: Path, session: Session) -> float:
    """The largest relative difference of an output from the measured artefact's. Raises: `ExportFailed`.

    Where a format's runtime rounds by rules of its own, its own run of the artefact is what the outputs must equal, and
    they may be no further than `OWN_RULES` from the measured ones.
    """
    measured, own = runtime().load(variant.onnx), target.reference(variant)
    sample, largest, difference, means = spread(variant.data["test"], SAMPLE), 0.0, 0.0, [0.0]
    _check_entries(written, session, measured)
    for batch in batches(sample, some(sample, BATCH)):
        given = arrays(batch)
        found, expected = _run(written, session, given), measured.outputs(given)
        shapes, wanted = ([one.shape for one in many] for many in (found, expected))
        if shapes != wanted:
            raise ExportFailed(f"{written.name} gives outputs of shapes {shapes}, measured {wanted}. {_NOTHING}")
        difference = _worst(difference, found, expected)
        means += [_mean(one, other) for one, other in zip(found, expected, strict=True)]
        largest = difference if own is None else _worst(largest, found, own.outputs(given))
    allowed = target.tolerance if own is None else OWN_RULES
    if not largest <= target.tolerance or not difference <= allowed:
        gap, room = (largest, target.tolerance) if not largest <= target.tolerance else (difference, allowed)
        raise ExportFailed(
            f"{written.name} gives other outputs than the measured artefact: largest relative difference "
            f"{gap:.2g}, allowed {room:g}. {_NOTHING}"
        )
    if not np.mean(means) <= target.typical:
        raise ExportFailed(
            f"{written.name} gives other outputs than the measured artefact: mean relative difference "
            f"{np.mean(means):.2g}, allowed {target.typical:.2g}. {_NOTHING}"
        )
    return difference


def _worst(before: float, found: list[Array], expected: list[Array]) -> float:
    """The largest of what was found before and the differences of these outputs; nan for what is no number."""
    gaps = [_apart(one, other) for one, other in zip(found, expected, strict=True)]
    return max([before, *gaps], key=lambda x: (x != x, x))


def spread(split: Split, most: int) -> Split:
    """At most so many inputs, from the first to the last."""
    return split if len(split) <= most else split.take([int(one) for one in np.linspace(0, len(split) - 1, most)])


def _check_entries(written: Path, session: Session, reference: Session) -> None:
    """The same inputs, by number, axes and kind of numbers; names are a format's own. Raises: `ExportFailed`."""
    found, wanted = (
        [(len(one.shape), np.dtype(one.kind).kind) for one in many.entries] for many in (session, reference)
    )
    if found != wanted:
        raise ExportFailed(
            f"{written.name} takes inputs {[(one.name, one.shape) for one in session.entries]}, measured "
            f"{[(one.name, one.shape) for one in reference.entries]}. {_NOTHING}"
        )


def _run(written: Path, session: Session, given: Any) -> list[Array]:
    try:
        return session.outputs(given)
    except Exception as error:  # what runs a damaged file raises anything
        raise ExportFailed(f"{written.name} cannot be run on the test inputs: {error} {_NOTHING}") from error


def _mean(found: Array, expected: Array) -> float:
    """The mean difference of an output from another, relative to the largest number there; 0 for whole numbers."""
    if expected.dtype.kind != "f" or not expected.size:
        return 0.0
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=1e-12))
    return float(np.abs(found.astype(np.float64) - expected).mean() / largest)


def _apart(found: Array, expected: Array) -> float:
    """How far an output is from another, relative to the largest number there; nan for what is no number."""
    if expected.dtype.kind != "f" or found.dtype.kind != "f":
        flipped = float(np.mean(found != expected)) if expected.size else 0.0
        return flipped if flipped > FLIPPED else 0.0
    if not expected.size:
        return 0.0
    same = (found == expected) | (np.isinf(expected) & (found == expected))
    gap = np.where(same, 0.0, np.abs(found.astype(np.float64) - expected))
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return float(gap.max() / max(float(largest), 1e-12))


def _check_figure(variant: Variant, written: Path, session: Session, same: bool) -> dict[str, float]:
    """The figure that the study is judged by, of what was written. Raises: `ExportFailed` where it is another."""
    task, split = variant.data.task, variant.data["test"]
    if not split.labelled or task is None or task.principal.name not in variant.estimates:
        return {}
    metric: Metric = task.principal
    found, measured = _figure(session, split, metric), variant[metric.name]
    exactly = same and variant.machine == machine().named
    if not _agrees(found, measured, exactly):
        how = " on this machine, of the same file" if exactly else ""
        raise ExportFailed(
            f"{written.name} reaches {metric.word} {metric.text(found)} where {metric.text(measured.value)} was "
            f"measured{how}. {_NOTHING}"
        )
    return {metric.name: found}


def _figure(session: Session, split: Split, metric: Metric) -> float:
    """A metric of a session on a labelled split, in the batches that it was measured in."""
    tally = Tally(metric)
    for inputs, labels in split.batches(some(split, BATCH)):
        given = arrays(inputs)
        tally.add(tuple(session.outputs(given)) if metric.several else session.run(given), arrays(labels))
    return tally.value()


def _agrees(found: float, measured: Estimate, exactly: bool) -> bool:
    if exactly:
        return abs(found - measured.value) <= ROUNDING * max(abs(measured.value), ROUNDING)
    room = 1e-6 * abs(measured.value)  # an exact figure has no interval to lie in
    return measured.low - room <= found <= measured.high + room


def _check_reads_the_copy(variant: Variant, target: Exporter, written: Path) -> None:
    """A copy of the folder whose file is empty must not run: else something else was verified than what was written.

    Raises: `ExportFailed`.
    """
    with tempfile.TemporaryDirectory() as place:
        hollow = Path(shutil.copytree(written.parent, Path(place) / "copy")) / written.name
        hollow.write_bytes(b"")
        (Path(place) / "unpacked").mkdir()
        try:
            target.load(target.unpacked(hollow, Path(place) / "unpacked")).outputs(arrays(variant.data["test"].example))
        except Exception:  # noqa: BLE001  # whatever it says: it has looked at the file
            return
    raise ExportFailed(
        f"What reads the format {target.name!r} back gives outputs even of an empty {written.name}: it does not read "
        f"the file that was written, so nothing was verified. {_NOTHING}"
    )
