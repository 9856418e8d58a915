"""ONNX's operators that move elements, in torch, as the ONNX specification says."""

from __future__ import annotations

import math
from typing import Any

import onnx
import torch
from torch.nn import functional

from workbench.artefact.onnx_graph import attribute
from workbench.operators.windows import ints

Tensor = torch.Tensor


def reshape(node: onnx.NodeProto, x: Tensor, shape: Tensor) -> Tensor:
    """A 0 keeps a size, a -1 takes the rest."""
    keeps = not attribute(node, "allowzero", 0)
    return x.reshape([x.shape[i] if size == 0 and keeps else size for i, size in enumerate(ints(shape))])


def flatten(node: onnx.NodeProto, x: Tensor) -> Tensor:
    """To a matrix, split before `axis`."""
    axis = int(attribute(node, "axis", 1)) % (x.dim() + 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def squeeze(node: onnx.NodeProto, x: Tensor, axes: Any = None) -> Tensor:
    """Without axes of length 1."""
    found = ints(axes) if axes is not None else list(attribute(node, "axes", []))
    return x.squeeze(tuple(found)) if found else x.squeeze()


def unsqueeze(node: onnx.NodeProto, x: Tensor, axes: Any = None) -> Tensor:
    """With new axes of length 1."""
    found = ints(axes) if axes is not None else list(attribute(node, "axes", []))
    for axis in sorted(one % (x.dim() + len(found)) for one in found):
        x = x.unsqueeze(axis)
    return x


def cut(node: onnx.NodeProto, x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    """Ranges along axes; steps may be negative."""
    first, last = ints(starts), ints(ends)
    dims = ints(axes) if axes is not None else list(range(len(first)))
    strides = ints(steps) if steps is not None else [1] * len(first)
    for start, end, dim, step in zip(first, last, dims, strides, strict=True):
        if step > 0:
            x = x[(*[slice(None)] * (dim % x.dim()), slice(start, end, step))]
        else:
            chosen = range(*slice(start, end, step).indices(x.shape[dim]))
            x = x.index_select(dim, torch.tensor(list(chosen), dtype=torch.int64))
    return x


def split(node: onnx.NodeProto, x: Tensor, split: Any = None) -> tuple[Tensor, ...]:
    """In equal parts, or as the sizes say."""
    axis = int(attribute(node, "axis", 0))
    sizes = -(-x.shape[axis] // len(node.output)) if split is None else ints(split)
    return tuple(torch.split(x, sizes, axis))


def gather(node: onnx.NodeProto, x: Tensor, index: Tensor) -> Tensor:
    """Slices along an axis, by index."""
    axis = int(attribute(node, "axis", 0)) % x.dim()
    flat = index.reshape(-1).long()
    flat = torch.where(flat < 0, flat + x.shape[axis], flat)
    return x.index_select(axis, flat).reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def gather_elements(node: onnx.NodeProto, x: Tensor, index: Tensor) -> Tensor:
    """Elements along an axis, by index."""
    axis = int(attribute(node, "axis", 0))
    return x.gather(axis, torch.where(index < 0, index + x.shape[axis], index).long())


def gather_nd(node: onnx.NodeProto, x: Tensor, index: Tensor) -> Tensor:
    """Elements or slices by coordinates."""
    if attribute(node, "batch_dims", 0):
        raise NotImplementedError
    return x[tuple(index.long().unbind(-1))]


def scatter_nd(node: onnx.NodeProto, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """X with some elements or slices replaced."""
    if attribute(node, "reduction", b"none") != b"none":
        raise NotImplementedError
    return x.index_put(tuple(index.long().unbind(-1)), updates)


def depth_to_space(node: onnx.NodeProto, x: Tensor) -> Tensor:
    """Channels to blocks of pixels."""
    block = int(attribute(node, "blocksize", 1))
    if attribute(node, "mode", b"DCR") == b"CRD":
        return functional.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // block**2, h * block, w * block)


def one_hot(node: onnx.NodeProto, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """Two values, by class."""
    hot = functional.one_hot(index.long() % int(depth), int(depth)).movedim(-1, int(attribute(node, "axis", -1)))
    return torch.where(hot.bool(), values[1], values[0])
