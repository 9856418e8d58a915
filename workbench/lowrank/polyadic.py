"""CP of convolution kernels: sums of rank-one terms, fitted by `alternating` and checked for degeneracy."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from workbench.lowrank.alternating import alternate, balanced, correct, error_of, initial, khatri_rao
from workbench.lowrank.checks import checked, checked_rank
from workbench.lowrank.moments import regress

Tensor = torch.Tensor

#: Squared norm of all rank-one terms over that of their sum (1 when they do not overlap) beyond which
#: the terms cancel each other and the decomposition is called degenerate.
DEGENERATE = 100.0
#: Multiply-adds that a fit of one kernel may take, some seconds of one core, and the sweeps that it makes all the same.
WORK, FEWEST = 6e10, 12


def full_rank(shape: Sequence[int]) -> int:
    """A rank at which CP is exact for every kernel of this shape: all dimensions but the largest."""
    return prod(shape) // max(shape)


def fit(
    weight: Tensor, rank: int, *, starts: int = 2, sweeps: int = 200, slack: float = 0.02, moment: Tensor | None = None
) -> list[Tensor]:
    """As `lowrank.cp`: the factors (n, rank) of every mode, whose columns share the norm of their term equally.

    On a large kernel, where `sweeps` are more than `WORK` pays for, the start that is ahead after a few goes on alone.
    Raises: `BadValue` for a bad weight or a rank outside 1..full.
    """
    weight = checked(weight, "CP", (3, 4))
    full = full_rank(weight.shape)
    if checked_rank(rank, full, "CP") == full:
        return balanced(_exact(weight))
    if not weight.any():
        return [torch.zeros(n, rank, dtype=weight.dtype) for n in weight.shape]
    if moment is not None:
        return balanced(_weighted(weight, rank, moment, (starts, sweeps, slack)))
    paid = affordable(weight.shape, rank)
    first = sweeps if sweeps <= paid else paid // 4
    fits = [alternate(weight, initial(weight, rank, seed), first) for seed in range(starts)]
    best = min(fits, key=lambda factors: error_of(weight, factors))
    if first < sweeps:
        best = alternate(weight, best, paid - first)
    return correct(weight, best, slack, 60 if first == sweeps else paid // 4)


def affordable(shape: Sequence[int], rank: int) -> int:
    """Sweeps that `WORK` pays for: two products with the kernel, and one system of equations a mode."""
    return max(FEWEST, int(WORK / (2 * prod(shape) * rank + len(shape) * rank**3)))


def intensity(factors: Sequence[Tensor]) -> float:
    """Squared norm of all rank-one terms over that of their sum: 1 where they do not overlap; see `DEGENERATE`."""
    terms = torch.stack([factor.double().norm(dim=0) for factor in factors]).prod(0)
    total = float((factors[0] @ khatri_rao(factors[1:]).T).double().square().sum())
    return float(terms.square().sum()) / total if total > 0 else 1.0


def _exact(weight: Tensor) -> list[Tensor]:
    """Unit vectors for all modes but the largest, which holds the fibres: exact at the full rank."""
    big = max(range(weight.dim()), key=lambda mode: weight.shape[mode])
    rest = [mode for mode in range(weight.dim()) if mode != big]
    places = torch.cartesian_prod(*[torch.arange(weight.shape[mode]) for mode in rest])
    factors = [torch.empty(0)] * weight.dim()
    factors[big] = weight.movedim(big, 0).flatten(1)
    for column, mode in enumerate(rest):
        factors[mode] = torch.eye(weight.shape[mode], dtype=weight.dtype)[:, places[:, column]]
    return factors


def _weighted(weight: Tensor, rank: int, moment: Tensor, effort: tuple[int, int, float]) -> list[Tensor]:
    """Whiten the input modes by the moment's best Kronecker marginals, fit, undo; then regress the outputs."""
    seen, lowers = whitened(weight, moment)
    factors = fit(seen.to(weight.dtype), rank, starts=effort[0], sweeps=effort[1], slack=effort[2])
    inputs = [
        torch.linalg.solve_triangular(lower.T, factor.to(moment.dtype), upper=True)
        for lower, factor in zip(lowers, factors[1:], strict=True)
    ]
    out = regress(weight.flatten(1).to(moment.dtype), moment, khatri_rao(inputs).T)
    return [factor.to(weight.dtype) for factor in (out, *inputs)]


def whitened(weight: Tensor, moment: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The weight (out, in, ...) times the lower triangles L of its moment's marginals L L^T, and the triangles."""
    lowers = [torch.linalg.cholesky(m) for m in marginals(moment, weight.shape[1:])]
    found = weight.to(moment.dtype)
    for mode, lower in enumerate(lowers, start=1):
        found = torch.tensordot(found, lower, dims=([mode], [0])).movedim(-1, mode)
    return found, lowers


def marginals(moment: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """The moment (d, d) of patches of this shape, pooled over all modes but one, for each mode; unit mean."""
    found = []
    for mode, size in enumerate(shape):
        before, after = prod(shape[:mode]), prod(shape[mode + 1 :])
        grid = moment.reshape(before, size, after, before, size, after)
        pooled = torch.einsum("aibajb->ij", grid)
        found.append(pooled / pooled.diagonal().mean())
    return found
