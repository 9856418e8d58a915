"""One call of an operator of torch: what it was given, what it gave, and how to run it again on other numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_unflatten

from workbench.pruning.axes import Spread

Tensor = torch.Tensor


class Seen(NamedTuple):
    """One operator's call: the tensors of data and the constants that it read, and one tensor of data it wrote."""

    op: str
    data: tuple[Spread, ...]
    constants: tuple[Spread, ...]
    result: Spread


class Call(NamedTuple):
    """One call of an operator, which can be run again on other tensors."""

    func: Any  # an operator of torch
    flat: list[Any]
    spec: Any
    given: list[Tensor]
    results: list[Tensor]

    def run(self, floats: Any) -> list[Tensor]:
        """The results for other floating-point tensors."""
        waiting = iter(floats)
        other = [self._real(one, waiting) if isinstance(one, Tensor) else one for one in self.flat]
        other = [torch.device("cpu") if isinstance(one, torch.device) else one for one in other]
        args, kwargs = tree_unflatten(other, self.spec)
        out = self.func(*args, **kwargs)
        return [one for one in (out if isinstance(out, (tuple, list)) else [out]) if isinstance(one, Tensor)]

    def _real(self, tensor: Tensor, floats: Any) -> Tensor:
        if tensor.is_floating_point():
            number: Tensor = next(floats)
            return number.clone() if self.func._schema.is_mutable else number
        return torch.ones(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor

    @property
    def signature(self) -> str:
        """Calls of one operator with the same signature depend on their inputs in the same way."""
        return str(self.func) + repr([(one.shape, one.dtype) if isinstance(one, Tensor) else one for one in self.flat])

    @property
    def on_a_view(self) -> bool:
        """Whether it writes into a part of another tensor."""
        mutable = self.func._schema.is_mutable
        return bool(mutable) and bool(self.given) and self.given[0]._base is not None
