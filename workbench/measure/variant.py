"""Everything that is measured on a finished artefact, and what a user must be told about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import zstandard

from workbench.coding import pack
from workbench.cost.network import Network
from workbench.cost.roofline import device
from workbench.data import Data
from workbench.estimate import Estimate, exact
from workbench.jobs import Reporter
from workbench.measure.latency import measure_latency
from workbench.measure.metrics import Metric
from workbench.measure.quality import quality
from workbench.onnx_file import file_bytes

ZSTD_LEVEL = 9


def measure(
    artefact: Path, baseline: Path, data: Data, report: Reporter, metric: Metric | None = None
) -> dict[str, Estimate]:
    """Accuracy or another metric, latency against the baseline's artefact, bytes; all on the artefact.

    Raises: `MeasurementFailed`, `BadFile`, `Cancelled`.
    """
    estimates = quality(artefact, baseline, data, metric, report.part(0.0, 0.65))
    timing = measure_latency(artefact, baseline, progress=report.part(0.65, 1.0))
    content = artefact.read_bytes()
    return estimates | {
        "latency_ms": timing.latency_ms,
        "speedup": timing.speedup,
        "file_bytes": exact(file_bytes(artefact), "bytes"),
        "compressed_bytes": exact(len(zstandard.compress(content, ZSTD_LEVEL)), "bytes"),
        "huffman_bytes": exact(len(pack(artefact)), "bytes"),
    }


def predict(network: Network, original: Network) -> dict[str, Estimate]:
    """What follows from the shapes alone: MACs, parameters, memory access, and the roofline's speed-up."""
    totals, profile = network.totals, device()
    return {
        "macs": exact(totals.macs),
        "params": exact(totals.params),
        "memory_access_bytes": exact(totals.memory_access_bytes, "bytes"),
        "peak_activation_bytes": exact(totals.peak_activation_bytes, "bytes"),
        "predicted_speedup": exact(profile.latency_ms(original) / profile.latency_ms(network)),
    }


def notes(found: Mapping[str, Estimate], original: Mapping[str, Estimate] | None, classes: int) -> tuple[str, ...]:
    """One sentence for each thing that a user should not overlook; none for the original itself."""
    if original is None:
        return ()
    said = []
    accuracy, speedup = found.get("accuracy"), found["speedup"]
    if accuracy and classes and accuracy.value < 2 / classes and original["accuracy"].low > 2 / classes:
        said.append(f"Accuracy {accuracy.value:.1%} is near chance ({1 / classes:.0%}): this variant has collapsed.")
    agreement = found.get("agreement")
    if agreement and agreement.value < 0.5:
        said.append(f"It agrees with the original on {agreement.value:.1%} of the inputs alone: it has collapsed.")
    if speedup.high < 1:
        said.append(f"Slower than the original: {speedup.value:.2f}x [{speedup.low:.2f}, {speedup.high:.2f}].")
    elif speedup.low <= 1:
        said.append("Its latency is not distinguishable from the original's.")
    if found["compressed_bytes"].value >= original["compressed_bytes"].value:
        said.append("Its file did not shrink, not even compressed.")
    return tuple(said)
