"""Which layers suffer most from quantization, and which to give back to float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.data import Split
from workbench.data.batches import batches
from workbench.estimate import Estimate, paired_change
from workbench.jobs import Reporter
from workbench.runtimes.onnxruntime import feeds, open_session
from workbench.tasks.metric import chosen, together

Array = npt.NDArray[Any]
#: Makes a quantized copy with the named layers left in float.
Quantizer = Callable[[frozenset[str]], onnx.ModelProto]

_BATCH = 100
_FEW = 256  # inputs that rank layers


@dataclass(frozen=True)
class Mixed:
    """A quantized graph, the layers that it keeps in float, and what it costs of the figure (negative: gains)."""

    model: onnx.ModelProto
    kept: tuple[str, ...]
    drop: Estimate


@dataclass(frozen=True)
class Judge:
    """What answers are judged by: a split, how much is lost on the first inputs of it, and how far outputs move.

    `drop(before, after)` takes the outputs of two graphs for the same first inputs, and `harm` does.
    """

    split: Split
    drop: Callable[[Any, Any], Estimate]
    harm: Callable[[Any, Any], float]
    several: bool = False  # whether it looks at every output


def answers(model: onnx.ModelProto, inputs: Any, progress: Reporter, *, several: bool = False) -> Any:
    """The graph's first output (N, ...), or all of them, for a split or inputs (N, ...)."""
    session = open_session(model.SerializeToString())
    parts = []
    for batch in batches(inputs, _BATCH):
        progress.check()
        found = session.run(None, feeds(session, batch))
        parts.append(tuple(found) if several else found[0])
    return together(parts)


def order_by_sensitivity(
    model: onnx.ModelProto, layers: Sequence[str], quantize: Quantizer, judge: Judge, progress: Reporter
) -> list[str]:
    """The layers by the harm that quantizing each one alone does, worst first, on 256 inputs."""
    inputs = judge.split.first(_FEW)
    exact = answers(model, inputs, progress, several=judge.several)
    every = frozenset(node.name for node in model.graph.node)
    harm = {}
    for index, layer in enumerate(layers):
        progress(index / len(layers), f"sensitivity of {layer}")
        harm[layer] = judge.harm(exact, answers(quantize(every - {layer}), inputs, progress, several=judge.several))
    return sorted(layers, key=lambda layer: -harm[layer])


def keep_quality(
    model: onnx.ModelProto,
    layers: Sequence[str],
    quantize: Quantizer,
    judge: Judge,
    max_drop: float,
    progress: Reporter,
) -> Mixed:
    """Quantize, and give back float to as few of the most sensitive layers as keep the loss within `max_drop`.

    Layers are given back one after the other on a fifth of the inputs while the loss there is surely too
    large (its 95 % interval lies above the bound), and from then on until all inputs confirm it.
    """
    every = np.arange(len(judge.split))
    before = answers(model, judge.split, progress, several=judge.several)
    subset = max(1, len(every) // 5)

    def trial(kept: Sequence[str], count: int) -> Mixed:
        graph = quantize(frozenset(kept))
        now = answers(graph, judge.split.first(count), progress, several=judge.several)
        return Mixed(graph, tuple(kept), judge.drop(chosen(before, every[:count]), now))

    found = trial((), len(every))
    if found.drop.value <= max_drop:
        return found
    order = order_by_sensitivity(model, layers, quantize, judge, progress.part(0.0, 0.6))
    for count in range(1, len(order) + 1):
        progress(0.6 + 0.4 * count / len(order), f"{count} layers back in float")
        if trial(order[:count], subset).drop.low > max_drop and count < len(order):
            continue
        found = trial(order[:count], len(every))
        if found.drop.value <= max_drop:
            break
    return found


def paired_drop(before: Array, after: Array) -> Estimate:
    """How much accuracy is lost from `before` to `after`, right or wrong on the same inputs; see `paired_change`."""
    lost, gained = int(np.sum(before & ~after)), int(np.sum(~before & after))
    return paired_change(gained, lost, len(before))
