"""Which positions of a result depend on which positions of an input: found by changing some and looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

Tensor = torch.Tensor
Run = Callable[[Sequence[Tensor]], list[Tensor]]

#: Axes of up to so many positions are tried one by one, longer ones by halves drawn at random.
_EACH = 8
_DRAWS = 2


def some(shape: Sequence[int]) -> Tensor:
    """Numbers that every operator takes, a square root and a logarithm too."""
    return torch.rand(tuple(shape)) + 0.5


def aligned(run: Run, tensors: Sequence[Tensor], which: int, axis: int) -> int | None:
    """The axis of the first result whose position j depends on position j of an input's axis, and on no other.

    None where there is none: the operation takes channels together, or puts them elsewhere.
    """
    value = tensors[which]
    size = value.shape[axis]
    base = run(tensors)[0]
    candidates = [place for place in range(base.dim()) if base.shape[place] == size]
    seen = False
    for mask in _masks(size):
        if not candidates:
            return None
        wide = mask.reshape([-1 if place == axis else 1 for place in range(value.dim())])
        changed = torch.where(wide, some(value.shape), value)
        after = run([changed if index == which else one for index, one in enumerate(tensors)])[0]
        apart = (after != base) & ~(after.isnan() & base.isnan())
        seen = seen or bool(apart.any())
        candidates = [place for place in candidates if not bool((_along(apart, place) & ~mask).any())]
    if not seen:  # only the shape counts, as in zeros_like
        return axis if base.shape == value.shape else None
    return candidates[0] if candidates else None


def _along(apart: Tensor, axis: int) -> Tensor:
    others = [place for place in range(apart.dim()) if place != axis]
    return apart.amax(others) if others else apart


def _masks(size: int) -> Iterator[Tensor]:
    if size <= _EACH:
        yield from torch.eye(size, dtype=torch.bool)
        return
    generator = torch.Generator().manual_seed(size)
    for _ in range(_DRAWS):
        half = torch.rand(size, generator=generator) < 0.5
        half[:2] = torch.tensor([True, False])  # neither is empty
        yield half
        yield ~half
