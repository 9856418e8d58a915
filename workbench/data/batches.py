"""Inputs as a network may have them: each batch in memory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workbench.data.dataset import Split
from workbench.data.source import BATCH, Held, Labels, leaves
from workbench.modules.calling import Inputs, tensors_map

#: Bytes of inputs that are run at a time: 27 coloured pictures of 224 x 224.
BYTES = 16 << 20


def as_split(inputs: Any, labels: Labels | None = None) -> Split:
    """A split itself; inputs (N, ...) in memory, tensors or arrays or containers of these, as one."""
    if isinstance(inputs, Split):
        return inputs
    import numpy as np
    import torch
    from torch.utils._pytree import tree_map

    def tensor(one: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(one)) if isinstance(one, np.ndarray) else one

    return Split("inputs", Held("inputs", tree_map(tensor, inputs), labels))


def batches(inputs: Any, size: int = BATCH) -> Iterator[Inputs]:
    """The inputs of a split, or those in memory, in order, `size` at a time; the last batch may be smaller.

    A network whose first operation works in place (`nn.ReLU(inplace=True)`, `x.sub_(mean)`) writes into what it
    is given. Whatever runs a network on data takes its batches from here, so that the data stay as they are.
    """
    return (part for part, _ in as_split(inputs).batches(size))


def some(inputs: Any, most: int = BATCH) -> int:
    """How many inputs to run a network on at a time: `most`, and fewer where they are so large that memory counts.

    A network's feature maps take several times its inputs' bytes, of which a batch holds at most `BYTES`.
    """
    one = sum(leaf.nbytes for _, leaf in leaves(as_split(inputs).example))
    return max(1, min(most, BYTES // max(one, 1)))


def arrays(inputs: Any) -> Any:
    """A batch of inputs as numpy arrays, in the same containers; they share the memory."""
    return tensors_map(lambda one: one.detach().numpy(), inputs)


def count(inputs: Inputs) -> int:
    """How many inputs a batch holds."""
    found: list[int] = []
    tensors_map(lambda one: found.append(len(one)), inputs)
    return found[0]
