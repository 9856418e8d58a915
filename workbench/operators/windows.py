"""ONNX's convolutions, poolings, resizing, padding and normalizations in torch, as the ONNX specification says."""

from __future__ import annotations

import math
from typing import Any

import onnx
import torch
from torch.nn import functional

from workbench.artefact.onnx_graph import attribute

Tensor = torch.Tensor


def ints(value: Any) -> list[Any]:
    """A tensor or an array of whole numbers as a list; sizes that torch keeps as symbols stay what they are."""
    return [one if isinstance(one, torch.SymInt) else int(one) for one in value.reshape(-1).tolist()]


def _padded(node: onnx.NodeProto, x: Tensor, value: float = 0.0) -> Tensor:
    """X padded as the node's attribute says."""
    _no_auto_pad(node)
    rank = x.dim() - 2
    pads = list(attribute(node, "pads", [0] * 2 * rank))
    if not any(pads):
        return x
    pairs = [size for index in reversed(range(rank)) for size in (pads[index], pads[rank + index])]
    return functional.pad(x, pairs, value=value)


def _no_auto_pad(node: onnx.NodeProto) -> None:
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise NotImplementedError


def conv(node: onnx.NodeProto, x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """(N, C, ...), filters (outputs, C / groups, ...) -> (N, outputs, ...)."""
    rank = weight.dim() - 2
    compute: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    strides, dilations = (list(attribute(node, name, [1] * rank)) for name in ("strides", "dilations"))
    result: Tensor = compute(_padded(node, x), weight, bias, strides, 0, dilations, int(attribute(node, "group", 1)))
    return result


def conv_transpose(node: onnx.NodeProto, x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """As `conv`, backwards; padding must be even."""
    _no_auto_pad(node)
    rank = weight.dim() - 2
    pads = list(attribute(node, "pads", [0] * 2 * rank))
    if pads[:rank] != pads[rank:] or attribute(node, "output_shape", None):
        raise NotImplementedError
    compute: Any = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[rank - 1]
    strides, dilations = (list(attribute(node, name, [1] * rank)) for name in ("strides", "dilations"))
    more = list(attribute(node, "output_padding", [0] * rank))
    result: Tensor = compute(x, weight, bias, strides, pads[:rank], more, int(attribute(node, "group", 1)), dilations)
    return result


def pool(kind: str, node: onnx.NodeProto, x: Tensor) -> Tensor:
    """Maxima ("max") or means ("avg") of windows; padding that differs from side to side is laid around x first."""
    _no_auto_pad(node)
    kernel = list(attribute(node, "kernel_shape", []))
    rank = len(kernel)
    strides, dilations = (list(attribute(node, name, [1] * rank)) for name in ("strides", "dilations"))
    pads, ceil = list(attribute(node, "pads", [0] * 2 * rank)), bool(attribute(node, "ceil_mode", 0))
    even = pads[:rank] == pads[rank:] and all(2 * one <= size for one, size in zip(pads, kernel, strict=False))
    inside = pads[:rank] if even else [0] * rank
    compute: Any = getattr(functional, f"{kind}_pool{rank}d")
    if kind == "max":
        x = x if even else _padded(node, x, float("-inf"))
        found: Tensor = compute(x, kernel, strides, inside, dilations, ceil)
        return found
    counted = bool(attribute(node, "count_include_pad", 0))
    if any(size > 1 for size in dilations) or (ceil and not even):
        raise NotImplementedError
    found = compute(x if even else _padded(node, x), kernel, strides, inside, ceil, counted)
    if not even and not counted:
        found = found / compute(_padded(node, torch.ones_like(x)), kernel, strides)
    return found


def pad(node: onnx.NodeProto, x: Tensor, pads: Tensor, value: Any = None, axes: Any = None) -> Tensor:
    """X with a margin, by the amounts before and after each axis."""
    mode = attribute(node, "mode", b"constant").decode()
    given = ints(pads)
    dims = [one % x.dim() for one in ints(axes)] if axes is not None else list(range(x.dim()))
    sizes = {dim: (given[i], given[len(dims) + i]) for i, dim in enumerate(dims)}
    if mode != "constant":
        sizes = {dim: both for dim, both in sizes.items() if any(both)}
        if mode == "wrap" or min(sizes, default=2) < 2:
            raise NotImplementedError
        if not sizes:
            return x
        pairs = [size for dim in reversed(range(2, x.dim())) for size in sizes.get(dim, (0, 0))]  # torch wants all
        return functional.pad(x, pairs, "reflect" if mode == "reflect" else "replicate")
    pairs = [size for dim in reversed(range(x.dim())) for size in sizes.get(dim, (0, 0))]
    return functional.pad(x, pairs, value=0.0 if value is None else value.item())


def resize(node: onnx.NodeProto, x: Tensor, _roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
    """By factors or to sizes, in the ways that torch has too."""
    rank, mode = x.dim() - 2, attribute(node, "mode", b"nearest").decode()
    place = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    plain = mode == "nearest" and place == "asymmetric" and attribute(node, "nearest_mode", b"") == b"floor"
    smooth = mode in {"linear", "cubic"} and place in {"half_pixel", "pytorch_half_pixel", "align_corners"}
    odd = mode == "cubic" and (rank != 2 or attribute(node, "cubic_coeff_a", -0.75) != -0.75)
    if not (plain or smooth) or odd or attribute(node, "axes", None) or attribute(node, "exclude_outside", 0):
        raise NotImplementedError
    wanted: dict[str, Any] = {"size": ints(sizes)[2:]} if sizes is not None and len(sizes) else {}
    if not wanted:
        factors = [float(one) for one in scales.tolist()[2:]]
        wanted = {"size": [math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True)]}
    name = {"nearest": "nearest", "cubic": "bicubic", "linear": ("linear", "bilinear", "trilinear")[rank - 1]}[mode]
    aligned = {} if mode == "nearest" else {"align_corners": place == "align_corners"}
    return functional.interpolate(x, **wanted, mode=name, **aligned, antialias=bool(attribute(node, "antialias", 0)))


def layer_norm(node: onnx.NodeProto, x: Tensor, scale: Tensor, bias: Any = None) -> Tensor:
    """Over the axes from `axis` on."""
    shape = x.shape[int(attribute(node, "axis", -1)) % x.dim() :]
    found = functional.layer_norm(x, shape, eps=attribute(node, "epsilon", 1e-5)) * scale
    return found if bias is None else found + bias


def group_norm(node: onnx.NodeProto, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Over groups of channels."""
    groups = int(attribute(node, "num_groups", 1))
    if scale.numel() != x.shape[1]:  # before opset 21 there was one a group
        scale, bias = (one.repeat_interleave(x.shape[1] // groups) for one in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, attribute(node, "epsilon", 1e-5))


def batch_norm(node: onnx.NodeProto, x: Tensor, scale: Any, bias: Any, mean: Any, var: Any) -> Tensor:
    """With the statistics that are stored."""
    return functional.batch_norm(x, mean, var, scale, bias, eps=attribute(node, "epsilon", 1e-5))


def lp_norm(node: onnx.NodeProto, x: Tensor) -> Tensor:
    """Vectors of length 1 along an axis."""
    return functional.normalize(x, attribute(node, "p", 2), int(attribute(node, "axis", -1)), eps=0.0)
