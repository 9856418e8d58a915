"""ShuffleNetV2's four guidelines as experiments that anyone can run on their own processor.

Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", section 2: at equal
multiply-accumulates, unequal channel widths, groups, fragmentation and element-wise operators cost time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.interface.arguments import check_kinds
from workbench.measure.latency import interleave, usual_seconds
from workbench.measure.probes import Probe

if TYPE_CHECKING:
    import pandas as pd

SIDE = 28
COLUMNS = (
    "guideline", "case", "macs", "memory_access_bytes", "latency_ms", "slowdown", "slowdown_low", "slowdown_high",
    "holds",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A guideline and graphs of equal arithmetic: the first follows it, the last breaks it most."""

    guideline: str
    cases: tuple[tuple[str, Callable[[], Probe]], ...]


@check_kinds
def guidelines(*, batch: int = 1, threads: int = 1, seconds: float | None = None) -> pd.DataFrame:
    """Time the experiments, each interleaved. One row a case; `wb.charts.guidelines` draws it.

    `slowdown` is the time relative to the first case, with its 95 % interval; `holds` is True where the
    interval lies above 1: breaking the guideline costs time here. `latency_ms` is for one batch. `seconds` is for
    each of the four experiments: 3, or what WORKBENCH_LATENCY_SECONDS says.

    Raises: `BadValue` for settings that make no sense, `MeasurementFailed`.
    """
    import pandas as pd

    seconds = usual_seconds() if seconds is None else seconds
    rows = [row for one in EXPERIMENTS for row in _run(one, batch, threads, seconds)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _run(experiment: Experiment, batch: int, threads: int, seconds: float) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        probes = [make() for _, make in experiment.cases]
        paths = [probe.write(Path(folder) / f"{index}.onnx") for index, probe in enumerate(probes)]
        timings = interleave(paths, batch=batch, threads=threads, seconds=seconds)
    for index, ((case, _), probe) in enumerate(zip(experiment.cases, probes, strict=True)):
        slowdown, totals = timings.speedup(0, over=index), probe.network.totals
        rows.append(
            (experiment.guideline, case, totals.macs, totals.memory_access_bytes, timings.latency(index).value,
             slowdown.value, slowdown.low, slowdown.high, slowdown.low > 1)
        )  # fmt: skip
    return rows


def _widths(narrow: int, wide: int) -> Callable[[], Probe]:
    """Six pointwise convolutions to and fro between two widths."""

    def make() -> Probe:
        probe = Probe((narrow, SIDE, SIDE))
        for _ in range(3):
            probe.conv(wide, 1, relu=False).conv(narrow, 1, relu=False)
        return probe

    return make


def _groups(groups: int, width: int) -> Callable[[], Probe]:
    def make() -> Probe:
        probe = Probe((width, SIDE, SIDE))
        for _ in range(4):
            probe.conv(width, 1, groups=groups, relu=False)
        return probe

    return make


def _fragments(count: int, width: int) -> Callable[[], Probe]:
    def make() -> Probe:
        probe = Probe((width, SIDE // 2, SIDE // 2))
        for _ in range(2 * count):
            probe.conv(width, 1, relu=False)
        return probe

    return make


def _elementwise(*operators: str) -> Callable[[], Probe]:
    """Two bottlenecks; after each, element-wise operators that the runtime does not fold away."""

    def make() -> Probe:
        probe = Probe((64, SIDE, SIDE))
        for _ in range(2):
            probe.conv(32, 1, relu="ReLU" in operators).conv(32, 3, relu="ReLU" in operators).conv(64, 1, relu=False)
            for one in operators:
                if one == "sum":
                    probe.add()
                elif one != "ReLU":
                    probe.unary(one, "activation")
        return probe

    return make


EXPERIMENTS = (
    Experiment(
        "G1 equal widths",
        (
            ("1:1 (128, 128)", _widths(128, 128)),
            ("1:4 (64, 256)", _widths(64, 256)),
            ("1:16 (32, 512)", _widths(32, 512)),
            ("1:64 (16, 1024)", _widths(16, 1024)),
        ),
    ),
    Experiment(
        "G2 few groups",
        (("1 group", _groups(1, 128)), ("4 groups", _groups(4, 256)), ("16 groups", _groups(16, 512))),
    ),
    Experiment(
        "G3 little fragmentation",
        (
            ("one wide", _fragments(1, 256)),
            ("4 times as many, in a row", _fragments(4, 128)),
            ("64 times as many, in a row", _fragments(64, 32)),
        ),
    ),
    Experiment(
        "G4 few element-wise operators",
        (
            ("none", _elementwise()),
            ("ReLU and sum (ONNX Runtime folds them)", _elementwise("ReLU", "sum")),
            ("GELU", _elementwise("Gelu")),
            ("GELU, tanh and sum", _elementwise("Gelu", "Tanh", "sum")),
        ),
    ),
)
