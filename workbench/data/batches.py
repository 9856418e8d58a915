"""Inputs as a network may have them: each batch in memory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def batches(inputs: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Copies of inputs (N, ...) in order, `size` at a time; the last batch may be smaller.

    A network whose first operation works in place (`nn.ReLU(inplace=True)`, `x.sub_(mean)`) writes into what it
    is given. Whatever runs a torch module on data takes its batches from here, so that the data stay as they are.
    """
    for part in inputs.split(size):
        yield part.clone()
