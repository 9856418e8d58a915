"""CP of convolution kernels: sums of rank-one terms, fitted by `alternating` and checked for degeneracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from workbench.arguments import check_kinds
from workbench.lowrank.alternating import alternate, correct, error_of, initial, khatri_rao, sensitivity
from workbench.lowrank.checks import checked, checked_rank
from workbench.lowrank.moments import regress

Tensor = torch.Tensor

#: Squared norm of all rank-one terms over that of their sum (1 when they do not overlap) beyond which
#: the terms cancel each other and the decomposition is called degenerate.
DEGENERATE = 100.0


@dataclass(frozen=True)
class CP:
    """weight ~ sum over r of weights[r] * factors[0][:, r] (outer) factors[1][:, r] (outer) ..."""

    weights: Tensor  # (r,)
    factors: tuple[Tensor, ...]  # (out, r), (in, r), then one a spatial mode; columns of unit norm
    error: float  # relative Frobenius error of the kernel
    sensitivity: float
    intensity: float  # squared norm of the terms over that of their sum
    sweeps: int

    @property
    def degenerate(self) -> bool:
        """True when the rank-one terms largely cancel each other."""
        return self.intensity > DEGENERATE

    def balanced(self) -> tuple[Tensor, ...]:
        """Factors that carry the weights, an equal share each."""
        share = self.weights.abs() ** (1 / len(self.factors))
        signed = self.factors[0] * self.weights.sign()
        return tuple(factor * share for factor in (signed, *self.factors[1:]))

    def tensor(self) -> Tensor:
        """The kernel that the factors stand for."""
        first, *rest = self.balanced()
        return (first @ khatri_rao(rest).T).reshape([len(f) for f in self.factors])


def full_rank(shape: Sequence[int]) -> int:
    """A rank at which CP is exact for every kernel of this shape: all dimensions but the largest."""
    return prod(shape) // max(shape)


@check_kinds
def cp(
    weight: Tensor, rank: int, *, starts: int = 2, sweeps: int = 200, slack: float = 0.02, moment: Tensor | None = None
) -> CP:
    """Decompose a kernel (out, in, ...) of 3 or 4 modes into `rank` rank-one terms.

    The best of `starts` fits is corrected for sensitivity at an error at most `slack` (relative) above it.
    With `moment`, the second moment of the input patches, the error is that of the layer's outputs.
    At the full rank the decomposition is written down exactly.

    Raises: `BadValue` for a bad weight or a rank outside 1..full.
    """
    weight = checked(weight, "CP", (3, 4))
    full = full_rank(weight.shape)
    if checked_rank(rank, full, "CP") == full:
        return _result(weight, _exact(weight), 0)
    if not weight.any():
        return _result(weight, [torch.zeros(n, rank, dtype=weight.dtype) for n in weight.shape], 0)
    if moment is not None:
        return _weighted(weight, rank, moment, (starts, sweeps, slack))
    fits = [alternate(weight, initial(weight, rank, seed), sweeps) for seed in range(starts)]
    factors, count = min(fits, key=lambda fit: error_of(weight, fit[0]))
    return _result(weight, correct(weight, factors, slack), count)


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


def _weighted(weight: Tensor, rank: int, moment: Tensor, effort: tuple[int, int, float]) -> CP:
    """Whiten the input modes by the moment's best Kronecker marginals, fit, undo; then regress the outputs."""
    lowers = [torch.linalg.cholesky(m) for m in marginals(moment, weight.shape[1:])]
    whitened = weight.to(moment.dtype)
    for mode, lower in enumerate(lowers, start=1):
        whitened = torch.tensordot(whitened, lower, dims=([mode], [0])).movedim(-1, mode)
    fit = cp(whitened.to(weight.dtype), rank, starts=effort[0], sweeps=effort[1], slack=effort[2])
    factors = [f.to(moment.dtype) for f in fit.balanced()]
    inputs = [
        torch.linalg.solve_triangular(lower.T, factor, upper=True)
        for lower, factor in zip(lowers, factors[1:], strict=True)
    ]
    out = regress(weight.flatten(1).to(moment.dtype), moment, khatri_rao(inputs).T)
    return _result(weight, [f.to(weight.dtype) for f in (out, *inputs)], fit.sweeps)


def marginals(moment: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """The moment (d, d) of patches of this shape, pooled over all modes but one, for each mode; unit mean."""
    found = []
    for mode, size in enumerate(shape):
        before, after = prod(shape[:mode]), prod(shape[mode + 1 :])
        grid = moment.reshape(before, size, after, before, size, after)
        pooled = torch.einsum("aibajb->ij", grid)
        found.append(pooled / pooled.diagonal().mean())
    return found


def _result(weight: Tensor, factors: Sequence[Tensor], sweeps: int) -> CP:
    norms = torch.stack([factor.norm(dim=0) for factor in factors])
    units = tuple(f / n.clamp_min(1e-30) for f, n in zip(factors, norms, strict=True))
    weights = norms.prod(0)
    total = float((factors[0] @ khatri_rao(factors[1:]).T).double().square().sum())
    intensity = float(weights.double().square().sum()) / total if total > 0 else 1.0
    return CP(weights, units, error_of(weight, factors), sensitivity(factors), intensity, sweeps)
