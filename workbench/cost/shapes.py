"""The shapes that the commonest operators return, known without asking torch.

Torch answers for meta tensors with decompositions in Python: a batch norm is composed of ten operators, which takes
longer than all the rest of a network, and the first of many others imports torch's compiler or SymPy, which takes
one to three seconds, most of the time until the screen shows its first prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

aten = torch.ops.aten
_KEEPING = "relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu leaky_relu elu tanh mish softplus add mul sub"


def known(packet: Any, args: Any) -> Any:
    """What the operator `packet` returns for meta tensors among `args`; None where torch must say."""
    rule = _RULES.get(packet)
    first = args[0] if args else None
    if rule is None or not isinstance(first, torch.Tensor) or not first.is_floating_point():
        return None
    return rule(packet, *args)


def _norm(_packet: Any, x: torch.Tensor, *tensors: Any) -> Any:
    if any(isinstance(one, torch.Tensor) and one.shape != x.shape[1:2] for one in tensors):
        return None  # torch says what is wrong
    return x.new_empty(x.shape), x.new_empty(0), x.new_empty(0)


def _layer_norm(_packet: Any, x: torch.Tensor, over: Any, *tensors: Any) -> Any:
    inner = tuple(over)
    if tuple(x.shape[x.dim() - len(inner) :]) != inner or any(
        isinstance(one, torch.Tensor) and tuple(one.shape) != inner for one in tensors
    ):
        return None  # torch says what is wrong
    outer = (*x.shape[: x.dim() - len(inner)], *[1] * len(inner))
    return x.new_empty(x.shape), x.new_empty(outer), x.new_empty(outer)


def _product(_packet: Any, _bias: Any, a: torch.Tensor, b: torch.Tensor, *_: Any) -> Any:
    if a.shape[1] != b.shape[0]:
        return None  # torch says what is wrong
    return a.new_empty(a.shape[0], b.shape[1])


def _convolution(_packet: Any, x: torch.Tensor, weight: torch.Tensor, _bias: Any, *how: Any) -> Any:
    stride, padding, dilation, transposed, _more, groups = how
    if transposed or x.dim() != weight.dim() or x.shape[1] != groups * weight.shape[1]:
        return None  # torch knows transposed ones, and says what is wrong with others
    sizes = _slid(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return x.new_empty(x.shape[0], weight.shape[0], *sizes) if sizes else None


def _max_pool(
    _packet: Any, x: torch.Tensor, kernel: Any, stride: Any = (), padding: Any = (0, 0), dilation: Any = (1, 1),
    ceil: bool = False,
) -> Any:  # fmt: skip
    sizes = _slid(x.shape[2:], kernel, stride or kernel, padding, dilation)
    if ceil or x.dim() != 4 or not sizes:
        return None
    out = x.new_empty(*x.shape[:2], *sizes)
    return out, out.long()


def _slid(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int] | None:
    """The sizes of what a window gives that slides over `size`; None where an argument holds for several axes."""
    if {len(kernel), len(stride), len(padding), len(dilation)} != {len(size)}:
        return None
    how = zip(size, kernel, stride, padding, dilation, strict=True)
    sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in how]
    return sizes if min(sizes) > 0 else None


def _keep(packet: Any, x: torch.Tensor, *others: Any) -> Any:
    tensors = [one for one in others if isinstance(one, torch.Tensor)]
    if any((one.shape, one.dtype) != (x.shape, x.dtype) for one in tensors):
        return None  # one is spread over the other
    return x if packet.__name__.endswith("_") else x.new_empty_strided(x.shape, x.stride())


def _mean(_packet: Any, x: torch.Tensor, dims: Any = None, keep: bool = False, *_: Any) -> Any:
    if not isinstance(dims, (list, tuple)) or not dims:
        return None
    gone = {one % x.dim() for one in dims}
    sizes = [1 if axis in gone else size for axis, size in enumerate(x.shape) if keep or axis not in gone]
    return x.new_empty(sizes)


_RULES: dict[Any, Callable[..., Any]] = {
    aten.native_batch_norm: _norm,
    aten.native_layer_norm: _layer_norm,
    aten.addmm: _product,
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool,
    aten.mean: _mean,
    **{getattr(aten, name): _keep for one in _KEEPING.split() for name in (one, f"{one}_") if hasattr(aten, name)},
}
