"""How much of the speed is the runtime's: ONNX Runtime's optimisation levels and `torch.compile`, side by side."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from workbench.errors import WorkbenchError
from workbench.interface.arguments import check_kinds
from workbench.measure.latency import Subject, interleave
from workbench.runtimes import available
from workbench.runtimes.onnxruntime import LEVELS, open_session

if TYPE_CHECKING:
    import pandas as pd

COMPILED = "torch-compile"
COLUMNS = (
    "level", "latency_ms", "latency_ms_low", "latency_ms_high", "speedup", "speedup_low", "speedup_high", "operators",
    "fused", "why",
)  # fmt: skip


@dataclass(frozen=True)
class Fused:
    """What an optimisation level made of a graph: operators that run, and those that took others in."""

    operators: int
    fused: tuple[str, ...]  # such as "Relu (12)"


@check_kinds
def compare_levels(artefact: Path, *, batch: int = 1, threads: int = 1, seconds: float = 3.0) -> pd.DataFrame:
    """One row a level: "off", "basic", "extended", "all" (what a study measures), and "torch-compile".

    Speed-ups are over "off", timed in turns. `operators` run after the rewriting; `fused` lists the operators
    that were taken into others. `torch.compile` runs the exported network; where it cannot, its row says why.

    Raises: `BadFile` when ONNX Runtime refuses the artefact, `MeasurementFailed`, `BadValue`.
    """
    import pandas as pd

    subjects = [Subject(Path(artefact), f"onnxruntime:{level}") for level in LEVELS]
    timings = interleave(subjects, batch=batch, threads=threads, seconds=seconds)
    rows: list[tuple[object, ...]] = []
    for index, level in enumerate(LEVELS):
        made = fused(Path(artefact), level)
        latency, speedup = timings.latency(index), timings.speedup(index)
        rows.append((level, latency.value, latency.low, latency.high, speedup.value, speedup.low, speedup.high,
                     made.operators, ", ".join(made.fused), ""))  # fmt: skip
    rows.append(_compiled(Path(artefact), batch, threads, seconds))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def fused(artefact: Path, level: str = "all") -> Fused:
    """Compare the graph as exported with the graph that runs at a level."""
    before = onnx.load(str(artefact))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        open_session(str(artefact), optimized=str(path), level=level)
        after = onnx.load(str(path))
    count, left = _count(before), _count(after)
    gone = [f"{op} ({count[op] - left[op]})" for op in sorted(count) if count[op] > left[op] and op not in _SETUP]
    return Fused(sum(n for op, n in left.items() if op not in _SETUP), tuple(gone))


_SETUP = frozenset({"Constant"})


def _count(model: onnx.ModelProto) -> Counter[str]:
    """Operators by their plain names: a fused or blocked convolution is a convolution."""
    return Counter(str(node.op_type).removeprefix("Fused").removeprefix("QLinear") for node in model.graph.node)


def _compiled(artefact: Path, batch: int, threads: int, seconds: float) -> tuple[object, ...]:
    missing = [float("nan")] * 6
    if COMPILED not in available():
        return (COMPILED, *missing, 0, "", "torch.compile is not available here.")
    try:
        pair = [Subject(artefact, "onnxruntime:off"), Subject(artefact, COMPILED)]
        timings = interleave(pair, batch=batch, threads=threads, seconds=seconds, sessions=1)
    except WorkbenchError as error:
        return (COMPILED, *missing, 0, "", str(error))
    latency, speedup = timings.latency(1), timings.speedup(1)
    return (COMPILED, latency.value, latency.low, latency.high, speedup.value, speedup.low, speedup.high, 0, "", "")
