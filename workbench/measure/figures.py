"""Everything that is measured on a finished artefact, and what a user must be told about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import zstandard

from workbench.coding import packed_bytes
from workbench.cost.compressed import ZSTD_LEVEL
from workbench.cost.energy import energy
from workbench.cost.network import Network
from workbench.cost.on_device import predictor
from workbench.data import Data
from workbench.errors import MeasurementFailed
from workbench.estimate import Estimate, exact
from workbench.jobs import Reporter
from workbench.measure.calibration import calibrate
from workbench.measure.evaluation import quality
from workbench.measure.latency import measure_latency, run_memory
from workbench.measure.machine import machine
from workbench.measure.paired import Sample
from workbench.measure.verdict import gather, reason, verdict
from workbench.measure.wording import UNSURE
from workbench.onnx_file import file_bytes
from workbench.tasks import Task
from workbench.tasks.classification import ACCURACY
from workbench.tasks.unlabelled import AGREEMENT, ERROR


class Measured(NamedTuple):
    """Every figure of an artefact, and of those that are taken on inputs what a paired comparison needs."""

    estimates: dict[str, Estimate]
    samples: dict[str, Sample]


def judged(artefact: Path, baseline: Path, data: Data, report: Reporter, task: Task) -> Measured:
    """What is the same on every machine: the task's figures of an artefact, and its bytes.

    Raises: `MeasurementFailed`, `BadFile`, `Cancelled`.
    """
    samples = quality(artefact, baseline, data, task, report)
    return Measured({name: one.estimate for name, one in samples.items()} | sizes(artefact), samples)


def timed(artefact: Path, baseline: Path, report: Reporter, seconds: float | None = None) -> dict[str, Estimate]:
    """Latency against the baseline's artefact, in turns on this machine, and the memory of a run.

    Raises: `MeasurementFailed`, `BadFile`, `Cancelled`.
    """
    timing = measure_latency(artefact, baseline, seconds=seconds, progress=report.part(0.0, 0.85))
    return {
        "latency_ms": timing.latency_ms,
        "speedup": timing.speedup,
        "run_memory_bytes": run_memory(artefact, progress=report.part(0.85, 1.0)),
    }


def sizes(artefact: Path) -> dict[str, Estimate]:
    """Bytes of an artefact as it is, compressed with zstd, and as the bundle of `workbench.coding`.

    Raises: `BadFile` for a file whose weights are not inside it.
    """
    squeezer = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    with artefact.open("rb") as file:
        compressed = sum(map(len, squeezer.read_to_iter(file, size=artefact.stat().st_size)))
    return {
        "file_bytes": exact(file_bytes(artefact), "bytes"),
        "compressed_bytes": exact(compressed, "bytes"),
        "huffman_bytes": exact(packed_bytes(artefact), "bytes"),
    }


def prepare(report: Reporter) -> None:
    """Calibrate this machine where it was not yet; on one too busy for it, predictions stay those of a server core."""
    try:
        calibrate(progress=report)
    except MeasurementFailed as error:
        report.note(f"This machine could not be calibrated, so predictions are those of a server core: {error}")


def predict(network: Network, original: Network) -> dict[str, Estimate]:
    """What follows from the shapes alone: MACs, parameters, memory access, energy, and the predicted speed-up."""
    totals, profile = network.totals, predictor()
    return {
        "macs": exact(totals.macs),
        "params": exact(totals.params),
        "memory_access_bytes": exact(totals.memory_access_bytes, "bytes"),
        "peak_activation_bytes": exact(totals.peak_activation_bytes, "bytes"),
        "energy_uj": exact(energy(network).total_uj, "µJ"),
        "predicted_speedup": exact(profile.latency_ms(original) / profile.latency_ms(network)),
    }


def metadata(
    found: Mapping[str, Estimate], original: Mapping[str, Estimate] | None, files: tuple[Path, Path], network: Network
) -> dict[str, str]:
    """Texts to keep with a variant: the machine, and for all but the original the verdict and its reason.

    `files` are the variant's artefact and the original's.
    """
    said = {"machine": machine().named}
    if original is None:
        return said
    evidence = gather(*files, network, predictor())
    ratio = original["macs"].value / max(1.0, found["macs"].value)
    return said | {
        "verdict": verdict(found["speedup"], found["predicted_speedup"].value, ratio, evidence),
        "reason": reason(evidence),
    }


def notes(
    found: Mapping[str, Estimate], original: Mapping[str, Estimate] | None, asked: tuple[Task, int], why: str = ""
) -> tuple[str, ...]:
    """One sentence for each thing that a user should not overlook; none for the original itself.

    `asked` are the task and the number of classes, 0 where none are known; `why` the reason that a verdict gives for
    its speed.
    """
    if original is None:
        return ()
    said = []
    because = f"; {why}" if why else ""
    speedup = found["speedup"]
    said += _collapse(found, original, *asked)
    if speedup.high < 1:
        interval = f"{speedup.low:.2f} to {speedup.high:.2f}"
        said.append(f"Slower than the original: {speedup.value:.2f}× ({interval}){because}.")
    elif speedup.low <= 1:
        interval = f"{speedup.low:.2f} to {speedup.high:.2f}×"
        said.append(f"Its speed is {UNSURE} from the original's ({interval}, timed in turns){because}.")
    if found["compressed_bytes"].value >= original["compressed_bytes"].value:
        said.append("Its file did not shrink, not even compressed.")
    return tuple(said)


def _collapse(found: Mapping[str, Estimate], original: Mapping[str, Estimate], task: Task, classes: int) -> list[str]:
    """Whether a variant's answers have become worth nothing, in the task's own words."""
    metric = task.principal
    now, before = found.get(metric.name), original.get(metric.name)
    if now is None or before is None:
        return []
    word = metric.label or metric.name
    if metric is ACCURACY and classes:
        if now.value < 2 / classes < before.low:
            return [f"{word} {now.value:.1%} is near chance ({1 / classes:.0%}): this variant has collapsed."]
    elif metric is AGREEMENT:
        if now.value < 0.5:
            return [f"It agrees with the original on {now.value:.1%} of the inputs alone: it has collapsed."]
    elif metric is ERROR:
        if now.value > 0.5:
            return [f"Its outputs are off by {now.value:.0%} of the original's: it has collapsed."]
    elif metric.share and metric.more_is_better and now.value < before.low / 10:
        return [f"{word} {now.value:.1%} is less than a tenth of the original's: this variant has collapsed."]
    return []
