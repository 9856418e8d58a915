"""The functions that canonical networks may call, by name: what can be read from a file without risk.

Each computes its result from its arguments alone: none reads or writes a file, loads code, or calls what it is given.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn import functional

Function = Callable[..., Any]

_TORCH = """
    abs add addcdiv addcmul adaptive_avg_pool1d amax amin arange argmax argmin avg_pool1d bmm broadcast_to cat ceil
    celu channel_shuffle chunk clamp clamp_max clamp_min clip clone concat concatenate conj_physical cos cosh cumprod
    cumsum detach div divide dropout einsum eq erf exp expm1 eye flatten flip floor floor_divide fmod
    full full_like gather ge greater group_norm gt hardshrink hstack index_select isfinite isinf isnan layer_norm le
    lerp linspace log log10 log1p log2 log_softmax logical_and logical_not logical_or logsumexp lt masked_fill matmul
    max max_pool1d max_pool2d maximum mean meshgrid min minimum mm movedim mul multiply narrow ne neg negative norm
    not_equal numel ones ones_like outer permute pixel_shuffle pixel_unshuffle pow prelu prod real reciprocal relu
    relu_ remainder repeat_interleave reshape roll round rsqrt rsub scatter selu sigmoid sign sin sinh softmax
    sort split sqrt square squeeze stack std std_mean sub subtract sum swapaxes t take_along_dim tan tanh tensordot
    tile topk transpose tril triu true_divide unbind unflatten unsqueeze var var_mean vstack where zeros zeros_like
    sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum
"""
_FUNCTIONAL = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d celu channel_shuffle dropout dropout2d elu fold gelu glu
    grid_sample hardshrink hardsigmoid hardswish hardtanh interpolate leaky_relu local_response_norm log_softmax
    logsigmoid lp_pool2d max_pool1d max_pool2d max_pool3d mish normalize one_hot pad pixel_shuffle pixel_unshuffle
    relu relu6 rrelu scaled_dot_product_attention selu sigmoid silu softmax softmin softplus softshrink softsign tanh
    tanhshrink threshold unfold upsample
"""
_OPERATOR = """
    add sub mul truediv floordiv mod neg pow matmul getitem eq ne lt le gt ge and_ or_ xor invert not_ pos abs
"""
_MATH = "ceil floor trunc sqrt"
_METHODS = """
    abs add addcmul amax amin argmax argmin bmm bool chunk clamp clamp_max clamp_min clip clone contiguous cos cumsum
    detach dim div divide double eq erf exp expand expand_as flatten flip float floor ge gather gt half index_select int
    le lerp log log_softmax logical_not long lt masked_fill matmul max mean min mm movedim mul multiply narrow ne
    neg new_full new_ones new_zeros norm numel permute pow prod reciprocal relu repeat repeat_interleave reshape roll
    round rsqrt select sigmoid sign sin size softmax split sqrt square squeeze std sub sum swapaxes t tanh tile to
    transpose tril triu type_as unbind unflatten unfold unsqueeze var view view_as where
    add_ sub_ mul_ div_ relu_ sigmoid_ tanh_ clamp_ clamp_min_ clamp_max_ exp_ neg_ sqrt_ pow_ masked_fill_ unsqueeze_
    squeeze_ transpose_ copy_ fill_ zero_ abs_
"""
#: Methods of tensors that a network may call.
METHODS = frozenset(_METHODS.split())
#: Attributes of tensors that a network may read.
ATTRIBUTES = frozenset({"shape", "dtype", "device", "T", "mT", "H", "ndim"})
#: Text arguments of operators that choose between ways to compute; an operator with any other is left out.
_TEXTS = frozenset(
    "padding approximate mode rounding_mode equation reduction indexing side interpolation_mode norm".split()
)


def name_of(function: Any) -> str | None:
    """The name under which a function may stand in a file, or None where it may not."""
    if isinstance(function, torch._ops.OpOverload):
        return str(function) if _harmless(function) else None
    return _names().get(id(function))


def named(name: str) -> Function | None:
    """The function of a name that `name_of` gave; None for any other."""
    if name.startswith("aten."):
        return _operator(name)
    return _functions().get(name)


def attribute(value: Any, name: str) -> Any:
    """An attribute of a tensor, of those that only tell what it is like."""
    if name not in ATTRIBUTES:
        raise AttributeError(f"a network may not read the attribute {name!r}")
    return getattr(value, name)


@cache
def _operator(name: str) -> Function | None:
    _, packet, *overload = name.split(".")
    found = getattr(getattr(torch.ops.aten, packet, None), overload[0] if overload else "default", None)
    return found if isinstance(found, torch._ops.OpOverload) and _harmless(found) else None


def _harmless(operation: torch._ops.OpOverload) -> bool:
    """Whether an operator of torch computes from tensors and numbers alone."""
    texts = {one.name for one in operation._schema.arguments if "str" in str(one.type)}
    return operation.namespace == "aten" and texts <= _TEXTS and operation._schema.name != "aten::from_file"


@cache
def _functions() -> dict[str, Function]:
    places = (("torch", torch, _TORCH), ("torch.nn.functional", functional, _FUNCTIONAL))
    places += (("operator", operator, _OPERATOR), ("math", math, _MATH))  # type: ignore[assignment]
    found = {
        f"{place}.{name}": getattr(module, name)
        for place, module, names in places
        for name in names.split()
        if callable(getattr(module, name, None))
    }
    return found | {"getattr": attribute}


@cache
def _names() -> dict[int, str]:
    found: dict[int, str] = {}
    for name, function in _functions().items():
        found.setdefault(id(function), name)
    return found | {id(getattr): "getattr"}
