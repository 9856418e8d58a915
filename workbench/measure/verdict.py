"""The verdict on a variant: measured against predicted speed-up, and the reason in one sentence, from evidence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from workbench.cost.features import ALIGNED, BLOCK, is_blocked
from workbench.cost.layer import CONVOLUTIONS
from workbench.cost.network import Network
from workbench.cost.roofline import Device
from workbench.estimate import Estimate
from workbench.measure.judgement import FASTER, SLOWER, judge
from workbench.runtimes.onnxruntime import open_session

#: An interval whose ends differ by more than this factor is of a machine that does other things.
WIDE = 1.3
#: A cause that takes less than this share of the time explains nothing.
SHARE = 0.25
_FLOAT_PRODUCTS = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"})
_INTEGER_PRODUCTS = frozenset(
    {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
)
_REORDERS = frozenset({"ReorderInput", "ReorderOutput"})


@dataclass(frozen=True)
class Evidence:
    """What the graph that runs, and the shares of the predicted time, say about speed."""

    operators: int  # that the runtime starts
    original_operators: int
    casts: int  # Cast operators that the original lacks: a precision without kernels
    reorders: int  # changes of the maps' order
    floats: int  # products that stayed in float beside integer ones
    products: int
    unaligned: tuple[str, ...]  # convolutions without a direct kernel, for their channel counts or groups
    start_share: float  # of the predicted time
    memory_share: float
    dynamic: int = 0  # operators that find ranges while the network runs


def gather(artefact: Path, original: Path, network: Network, device: Device) -> Evidence:
    """Read the two optimised graphs and the variant's times on a device."""
    names, before = _operators(artefact), _operators(original)
    times = device.times(network)
    total = sum(time.total for time in times) or 1.0
    integers = sum(name in _INTEGER_PRODUCTS for name in names)
    floats = sum(name in _FLOAT_PRODUCTS for name in names) if integers else 0
    return Evidence(
        operators=len(names),
        original_operators=len(before),
        casts=max(0, names.count("Cast") - before.count("Cast")),
        reorders=sum(name in _REORDERS for name in names),
        floats=floats,
        products=integers + floats,
        unaligned=_unaligned(network),
        start_share=sum(time.start for time in times) / total,
        memory_share=sum(time.total for time in times if time.memory > max(time.arithmetic, time.start)) / total,
        dynamic=names.count("DynamicQuantizeLinear") + names.count("DynamicQuantizeMatMul"),
    )


def verdict(speedup: Estimate, predicted: float, macs_ratio: float, evidence: Evidence) -> str:
    """One sentence: what was measured, what was predicted, and why the one differs from the other or from the MACs.

    `macs_ratio` is how many times fewer MACs the variant has.
    """
    measured = f"Measured {speedup.value:.2f}× ({speedup.low:.2f} to {speedup.high:.2f}), predicted {predicted:.2f}×"
    if speedup.high > WIDE * speedup.low:
        measured += " (this machine is too busy to tell more exactly)"
    judged, why = judge(speedup.low, speedup.high, predicted), reason(evidence)
    if judged == FASTER:
        return f"{measured}: {judged.lower()}; kernels are faster here than the model of this machine knows."
    if judged == SLOWER:
        return f"{measured}: {judged.lower()}; {why}."
    if speedup.value >= 0.8 * macs_ratio:
        return f"{measured}: {judged.lower()}."
    return f"{measured}: {judged.lower()}, though it has {macs_ratio:.1f}× fewer MACs; {why}."


def reason(evidence: Evidence) -> str:
    """The heaviest cause that there is evidence for."""
    return next(_causes(evidence))


def _causes(e: Evidence) -> Iterator[str]:
    """What can be seen in the graph first, then where the predicted time goes."""
    if e.dynamic:
        yield f"the ranges of activations are found anew in every run, {e.dynamic}×"
    if e.casts > 2:
        yield f"{e.casts} Cast operators convert between precisions, since this CPU has no kernels for the smaller one"
    if e.floats > max(1, 0.2 * e.products):
        yield f"{e.floats} of {e.products} products stayed in float32"
    if len(e.unaligned) >= 2:
        yield (
            f"{len(e.unaligned)} convolutions (such as {e.unaligned[0]}) have channel counts that are no multiple of "
            f"{ALIGNED}, groups narrower than {BLOCK} or other than two axes, or are transposed: the runtime has no "
            "direct kernel for these"
        )
    if e.start_share >= SHARE:
        yield (
            f"{e.start_share:.0%} of the time goes to starting {e.operators} operators "
            f"(the original has {e.original_operators})"
        )
    if e.memory_share >= SHARE:
        yield f"layers that wait for memory take {e.memory_share:.0%} of the time, whatever their MACs"
    if e.reorders > 4:
        yield f"the runtime changes the order of feature maps {e.reorders} times between its kernels"
    yield "its layers are too small to keep the kernels busy"


def _unaligned(network: Network) -> tuple[str, ...]:
    """Float convolutions whose patches must be unfolded."""
    return tuple(x.name for x in network.layers if x.kind in CONVOLUTIONS and x.bits == 32 and not is_blocked(x))


def _operators(artefact: Path) -> list[str]:
    """The types of the operators that run once ONNX Runtime has rewritten the graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        open_session(str(artefact), optimized=str(path))
        return [str(node.op_type) for node in onnx.load(str(path)).graph.node]
