"""ONNX's Resize in each of its ways: torch's own where it is the same, else by the places that are read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from workbench.artefact.onnx_graph import attribute
from workbench.operators.windows import ints

Tensor = torch.Tensor


def resize(node: onnx.NodeProto, x: Tensor, _roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
    """(N, C, ...) by factors or to sizes, nearest, linear or cubic.

    Raises: `NotImplementedError` for crops, and for cubic ways that torch does not have.
    """
    axes = [one % x.dim() for one in attribute(node, "axes", range(x.dim()))]
    whole = sizes is not None and sizes.size > 0
    given = ints(sizes) if whole else [float(one) for one in scales.reshape(-1)]
    if len(given) != len(axes):
        raise NotImplementedError("sizes of other axes")
    wanted = dict(zip(axes, given, strict=True))
    if attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch" or attribute(node, "exclude_outside", 0):
        raise NotImplementedError("a policy of its own")
    mode = attribute(node, "mode", b"nearest").decode()
    wanted.pop(0, None)  # the batch: of any size, and it stays
    changed = {axis: v for axis, v in wanted.items() if (v != x.shape[axis] if whole else v != 1.0)}
    places = {axis: _places(node, int(x.shape[axis]), v, whole) for axis, v in changed.items() if axis > 1}
    if len(places) != len(changed):
        raise NotImplementedError("other axes than those of pictures")
    if mode == "nearest":
        return _nearest(node, x, places)
    return _smooth(node, x, places, mode)


def _places(node: onnx.NodeProto, size: int, wanted: Any, whole: bool) -> np.ndarray[Any, Any]:
    """Where each place of the result lies in the input."""
    way = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    count = int(wanted) if whole else math.floor(size * wanted)
    scale = count / size if whole else float(wanted)
    at = np.arange(count, dtype=np.float64)
    if way == "half_pixel" or (way == "pytorch_half_pixel" and count > 1):
        return (at + 0.5) / scale - 0.5
    if way == "asymmetric":
        return at / scale
    if way == "align_corners":
        return at * (size - 1) / max(count - 1, 1)
    if way == "half_pixel_symmetric":
        adjusted = count / (scale * size)
        return size / 2 * (1 - adjusted) + (at + 0.5) / scale - 0.5
    if way == "pytorch_half_pixel":
        return np.zeros(1)
    raise NotImplementedError(way)


def _nearest(node: onnx.NodeProto, x: Tensor, places: dict[int, np.ndarray[Any, Any]]) -> Tensor:
    way = attribute(node, "nearest_mode", b"round_prefer_floor").decode()
    ways: dict[str, Any] = {
        "round_prefer_floor": lambda at: np.ceil(at - 0.5), "round_prefer_ceil": lambda at: np.floor(at + 0.5),
        "floor": np.floor, "ceil": np.ceil,
    }  # fmt: skip
    picks = {a: np.clip(ways[way](np.round(at, 6)), 0, int(x.shape[a]) - 1).astype(int) for a, at in places.items()}
    sizes = [len(picks[axis]) if axis in picks else int(x.shape[axis]) for axis in range(2, x.dim())]
    usual = all((at == np.arange(len(at)) * int(x.shape[a]) // len(at)).all() for a, at in picks.items())
    if usual and 3 <= x.dim() <= 5:
        return functional.interpolate(x, sizes, mode="nearest")
    for axis, at in picks.items():
        x = x.index_select(axis, torch.from_numpy(at))
    return x


def _smooth(node: onnx.NodeProto, x: Tensor, places: dict[int, np.ndarray[Any, Any]], mode: str) -> Tensor:
    way = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    sizes = [len(places[axis]) if axis in places else int(x.shape[axis]) for axis in range(2, x.dim())]
    names = {("linear", 3): "linear", ("linear", 4): "bilinear", ("linear", 5): "trilinear", ("cubic", 4): "bicubic"}
    name, aligned = names.get((mode, x.dim())), way == "align_corners"
    standard = all(np.allclose(at, _standard(int(x.shape[a]), len(at), aligned)) for a, at in places.items())
    smoothed = bool(attribute(node, "antialias", 0))
    if name and standard and (mode == "linear" or attribute(node, "cubic_coeff_a", -0.75) == -0.75):
        return functional.interpolate(x, sizes, mode=name, align_corners=aligned, antialias=smoothed)
    if mode != "linear" or smoothed:
        raise NotImplementedError(f"{mode} by {way}")
    for axis, at in places.items():
        at = np.clip(at, 0, int(x.shape[axis]) - 1)
        low = np.floor(at).astype(int)
        shape = [-1 if one == axis else 1 for one in range(x.dim())]
        share = torch.from_numpy((at - low).astype(np.float32)).reshape(shape)
        high = np.minimum(low + 1, int(x.shape[axis]) - 1)
        left, right = (x.index_select(axis, torch.from_numpy(one)) for one in (low, high))
        x = left + (right - left) * share
    return x


def _standard(size: int, count: int, aligned: bool) -> np.ndarray[Any, Any]:
    """The places that torch reads when it is told sizes."""
    at = np.arange(count, dtype=np.float64)
    return at * (size - 1) / max(count - 1, 1) if aligned else (at + 0.5) * size / count - 0.5
