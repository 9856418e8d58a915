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

Array = npt.NDArray[Any]
#: Makes a quantized copy with the named layers left in float.
Quantizer = Callable[[frozenset[str]], onnx.ModelProto]

_BATCH = 100


@dataclass(frozen=True)
class Mixed:
    """A quantized graph, the layers that it keeps in float, and the accuracy that it costs (negative: gains)."""

    model: onnx.ModelProto
    kept: tuple[str, ...]
    drop: Estimate


def logits(model: onnx.ModelProto, inputs: Any, progress: Reporter) -> Array:
    """The graph's outputs (N, classes)."""
    session = open_session(model.SerializeToString())
    parts = []
    for batch in batches(inputs, _BATCH):
        progress.check()
        parts.append(session.run(None, feeds(session, batch))[0])
    return np.concatenate(parts)


def order_by_sensitivity(
    model: onnx.ModelProto, layers: Sequence[str], quantize: Quantizer, inputs: Any, progress: Reporter
) -> list[str]:
    """The layers by the harm that quantizing each one alone does, worst first.

    Harm is the mean Kullback-Leibler divergence of the class probabilities from the float network's.
    """
    exact = _log_softmax(logits(model, inputs, progress))
    every = frozenset(node.name for node in model.graph.node)
    harm = {}
    for index, layer in enumerate(layers):
        progress(index / len(layers), f"sensitivity of {layer}")
        found = _log_softmax(logits(quantize(every - {layer}), inputs, progress))
        harm[layer] = float(np.mean(np.sum(np.exp(exact) * (exact - found), axis=1)))
    return sorted(layers, key=lambda layer: -harm[layer])


def keep_accuracy(
    model: onnx.ModelProto,
    layers: Sequence[str],
    quantize: Quantizer,
    split: Split,
    max_drop: float,
    progress: Reporter,
) -> Mixed:
    """Quantize, and give back float to as few of the most sensitive layers as keep the loss within `max_drop`.

    `split` has labels (N,) and is there to choose on. The ranking looks at its first 256 inputs.
    Layers are given back one after the other on a fifth of the split while the loss there is surely too
    large (its 95 % interval lies above the bound), and from then on until the whole split confirms it.
    """
    labels = split.labels.numpy()
    right = logits(model, split, progress).argmax(1) == labels
    subset = max(1, len(labels) // 5)

    def trial(kept: Sequence[str], count: int) -> Mixed:
        graph = quantize(frozenset(kept))
        now = logits(graph, split.first(count), progress).argmax(1) == labels[:count]
        return Mixed(graph, tuple(kept), paired_drop(right[:count], now))

    found = trial((), len(labels))
    if found.drop.value <= max_drop:
        return found
    order = order_by_sensitivity(model, layers, quantize, split.first(256), progress.part(0.0, 0.6))
    for count in range(1, len(order) + 1):
        progress(0.6 + 0.4 * count / len(order), f"{count} layers back in float")
        if trial(order[:count], subset).drop.low > max_drop and count < len(order):
            continue
        found = trial(order[:count], len(labels))
        if found.drop.value <= max_drop:
            break
    return found


def paired_drop(before: Array, after: Array) -> Estimate:
    """How much accuracy is lost from `before` to `after`, right or wrong on the same inputs; see `paired_change`."""
    lost, gained = int(np.sum(before & ~after)), int(np.sum(~before & after))
    return paired_change(gained, lost, len(before))


def _log_softmax(values: Array) -> Array:
    shifted: Array = values - values.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
