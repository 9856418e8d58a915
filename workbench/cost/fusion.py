"""Which operations ONNX Runtime folds into the one before them: they cost no pass over memory of their own.

Read off its optimised graphs (CPU, all optimisations): batch norm and simple activations go into the
convolution or the matrix product before them, and a residual sum goes into one of the convolutions it adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

from workbench.cost.layer import Layer

#: Kinds that start a group.
HOSTS = frozenset({"conv", "conv_transpose", "linear"})
_BATCH_NORMS = ("batch_norm", "native_batch_norm", "_native_batch_norm")
#: What a convolution's kernel can apply on the way out. SiLU, GELU and hard-swish are operators of their own.
_ACTIVATIONS = ("relu", "hardtanh", "relu6", "clamp", "sigmoid", "hardsigmoid", "tanh", "leaky_relu")


def mark_fused(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with `fused` set where a runtime folds them into the layer before."""
    readers = Counter(tensor for layer in layers for tensor in layer.reads)
    host: dict[int, tuple[str, int]] = {}  # tensor -> kind of its group, how far the group has come (see `_stage`)
    marked = []
    for layer in layers:
        group = _group(layer, host, readers)
        if group is not None:
            host[layer.writes] = group
        elif layer.kind in HOSTS:
            host[layer.writes] = (layer.kind if prod(layer.output[:-1]) == 1 or layer.kind != "linear" else "tokens", 0)
        marked.append(layer.but(fused=group is not None))
    return tuple(marked)


def _stage(layer: Layer) -> int:
    """A group takes a norm, then a residual sum, then an activation, each at most once; 0 for what it never takes."""
    if layer.kind == "norm" and layer.op.startswith(_BATCH_NORMS):
        return 1
    if layer.kind == "add" and layer.op in {"add", "add_"}:
        return 2
    return 3 if layer.kind == "activation" and layer.op.rstrip("_") in _ACTIVATIONS else 0


def _group(layer: Layer, host: dict[int, tuple[str, int]], readers: Counter[int]) -> tuple[str, int] | None:
    """The group that takes this layer in, as it is afterwards; None where none does."""
    stage = _stage(layer)
    candidates = layer.reads if stage == 2 else layer.reads[:1]
    for tensor in candidates:
        kind, reached = host.get(tensor, ("", 3))
        if not stage or reached >= stage or readers[tensor] > 1 or kind == "tokens":
            continue
        if stage == 2 and not _is_residual(layer, kind):
            continue
        return kind, stage
    return None


def _is_residual(layer: Layer, kind: str) -> bool:
    """Two maps of one shape, one of them a convolution's."""
    same = layer.others == prod(layer.input) == prod(layer.output)
    return kind == "conv" and len(set(layer.reads)) == 2 and same
