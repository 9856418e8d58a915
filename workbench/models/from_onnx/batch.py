"""The batch in files that are made for one input: which 1 in a shape stands for it."""

from __future__ import annotations

import math
from typing import Any

import torch

from workbench.models.from_onnx.sizes import as_array


def freed(x: torch.Tensor, shape: Any, batch: Any) -> Any:
    """The shape with the batch in the place of the 1 that stands for it in a file made for one input.

    It is the 1 before which the shape has as many elements as the input has before its batch axis.
    """
    wanted = [x.shape[i] if one == 0 else one for i, one in enumerate(shape.reshape(-1).tolist())]
    axis = next((i for i, size in enumerate(x.shape) if type(size) is type(batch) and str(size) == str(batch)), None)
    if axis is None or any(one is not None and str(one) == str(batch) for one in wanted):
        return shape
    before = math.prod(x.shape[:axis])
    for index, one in enumerate(wanted):
        if one == 1 and -1 not in wanted[:index] and math.prod(wanted[:index]) == before:
            return as_array([*wanted[:index], batch, *wanted[index + 1 :]])
    return shape
