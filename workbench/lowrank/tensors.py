"""TensorLy's own tensors, so that its functions work on what is found here; and its decompositions, as a reference.

TensorLy computes with one backend for all, NumPy unless told otherwise. Its functions take these tensors after
`tensorly.set_backend("pytorch")`, which is left to whoever uses them; the methods here need no setting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import tensorly
import torch
from tensorly.cp_tensor import CPTensor as PlainCP
from tensorly.decomposition import parafac, partial_tucker
from tensorly.tucker_tensor import TuckerTensor as PlainTucker

from workbench.lowrank.alternating import error_of, khatri_rao, sensitivity
from workbench.lowrank.checks import checked, checked_rank
from workbench.lowrank.polyadic import DEGENERATE, full_rank, intensity
from workbench.lowrank.tucker import checked_ranks

Tensor = torch.Tensor
R = TypeVar("R")


class TuckerTensor(PlainTucker):  # type: ignore[misc]  # TensorLy has no types
    """weight[o, i, ...] ~ sum over p, q of factors[0][o, p] * core[p, q, ...] * factors[1][i, q].

    TensorLy's `TuckerTensor` of a kernel whose taps are left as they are. `core` (r_out, r_in, *kernel), `factors`
    (out, r_out) and (in, r_in), `rank` (r_out, r_in), `shape` (out, in, *kernel).
    """

    def __init__(self, tucker_tensor: tuple[Tensor, Sequence[Tensor]]) -> None:
        # TensorLy's own constructor insists on a factor for every mode: see `all_modes`
        self.core, self.factors = tucker_tensor[0], list(tucker_tensor[1])
        self.rank = tuple(factor.shape[1] for factor in self.factors)
        self.shape = (*(len(factor) for factor in self.factors), *self.core.shape[len(self.factors) :])

    def to_tensor(self) -> Tensor:
        """The kernel that the factors stand for, (out, in, *kernel)."""
        out = torch.tensordot(self.factors[0], self.core, dims=1)
        return torch.einsum("oq...,iq->oi...", out, self.factors[1])

    def tucker_copy(self) -> TuckerTensor:
        """The same, in memory of its own."""
        return TuckerTensor((self.core.clone(), [factor.clone() for factor in self.factors]))

    def all_modes(self) -> PlainTucker:
        """The same with identities for the taps: for the functions of TensorLy that want a factor for every mode."""
        taps = [torch.eye(size, dtype=self.core.dtype, device=self.core.device) for size in self.core.shape[2:]]
        return with_torch(lambda: PlainTucker((self.core, [*self.factors, *taps])))


class CPTensor(PlainCP):  # type: ignore[misc]
    """weight ~ sum over r of weights[r] * factors[0][:, r] (outer) factors[1][:, r] (outer) ...

    TensorLy's `CPTensor` with what one should know of it. `weights` (rank,), `factors` (out, rank), (in, rank), then
    one a spatial mode, of columns of unit norm; `error` relative to the Frobenius norm of the kernel it was made of.
    """

    def __init__(self, cp_tensor: tuple[Tensor, Sequence[Tensor]], error: float) -> None:
        self.weights, self.factors = cp_tensor[0], list(cp_tensor[1])
        self.rank = self.factors[0].shape[1]
        self.shape = tuple(len(factor) for factor in self.factors)
        self.error = error

    @property
    def sensitivity(self) -> float:
        """Expected squared error of the kernel per unit variance of noise on the factors (Phan et al. 2020)."""
        return sensitivity(self.factors, self.weights)

    @property
    def intensity(self) -> float:
        """Squared norm of all rank-one terms over that of their sum: 1 where they do not overlap."""
        return intensity(self._carrying())

    @property
    def degenerate(self) -> bool:
        """True where the rank-one terms largely cancel each other."""
        return self.intensity > DEGENERATE

    def to_tensor(self) -> Tensor:
        """The kernel that the factors stand for."""
        first, *rest = self._carrying()
        return (first @ khatri_rao(rest).T).reshape(self.shape)

    def _carrying(self) -> list[Tensor]:
        return [self.factors[0] * self.weights, *self.factors[1:]]


def normalized(weight: Tensor, factors: Sequence[Tensor]) -> CPTensor:
    """The rank-one terms that approximate `weight`, their norms in the weights."""
    norms = torch.stack([factor.norm(dim=0) for factor in factors])
    units = [factor / norm.clamp_min(1e-30) for factor, norm in zip(factors, norms, strict=True)]
    return CPTensor((norms.prod(0), units), error_of(weight, factors))


def tucker2(weight: Tensor, rank: tuple[int, int]) -> TuckerTensor:
    """TensorLy's `partial_tucker`. Raises: `BadValue` as `lowrank.tucker2`."""
    weight = checked(weight, "Tucker", (3, 4, 5))
    ranks = list(checked_ranks(weight.shape, rank))
    found, _ = with_torch(lambda: partial_tucker(weight, rank=ranks, modes=[0, 1], init="svd", random_state=0))
    return TuckerTensor(tuple(found))


def cp(weight: Tensor, rank: int, starts: int) -> CPTensor:
    """The best of `starts` runs of TensorLy's `parafac`. Raises: `BadValue` as `lowrank.cp`."""
    weight = checked(weight, "CP", (3, 4))
    checked_rank(rank, full_rank(weight.shape), "CP")
    if not weight.any():  # it divides by the norm
        return normalized(weight, [torch.zeros(n, rank, dtype=weight.dtype) for n in weight.shape])
    fits = [
        with_torch(lambda seed=seed: parafac(weight, rank, init="random", random_state=seed).factors)  # type: ignore[misc]
        for seed in range(starts)
    ]
    return min((normalized(weight, factors) for factors in fits), key=lambda found: found.error)


def with_torch(work: Callable[[], R]) -> R:
    """What `work` gives where TensorLy computes with torch: in a thread of its own, so that no other notices."""
    with ThreadPoolExecutor(1, initializer=tensorly.set_backend, initargs=("pytorch", True)) as pool:
        return pool.submit(work).result()
