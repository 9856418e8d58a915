"""Tucker-2 of convolution kernels: output and input channels are projected, the taps are kept.

Kim et al. 2016, "Compression of deep convolutional neural networks for fast and low power mobile
applications". Instead of singular value decompositions of the unfoldings it uses symmetric
eigendecompositions of their Gram matrices, which are k*k times smaller, and a few sweeps of
higher-order orthogonal iteration (De Lathauwer et al. 2000) that start from the previous basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
import torch

from workbench.errors import BadValue
from workbench.interface.arguments import check_kinds
from workbench.lowrank.checks import checked, relative
from workbench.lowrank.moments import projected_regression

Tensor = torch.Tensor

#: Stop when a sweep lowered the error by less than this share.
GAIN = 1e-3
#: Mean dropped over mean kept eigenvalue below which half a sweep from the start does nearly all there is to
#: gain. Trained kernels lie far below; on noise without structure (above) gains shrink slowly.
STEEP = 0.2
#: Kernels of up to this many values are swept in any case: it costs next to nothing.
SMALL = 1 << 14


class Tucker2(NamedTuple):
    """weight[o, i, ...] ~ sum over p, q of factors[0][o, p] * core[p, q, ...] * factors[1][i, q].

    As TensorLy takes them: `tensorly.tucker_to_tensor` of it is the kernel.
    """

    core: Tensor  # (r_out, r_in, *kernel)
    factors: tuple[Tensor, Tensor]  # (out, r_out), (in, r_in)


@dataclass(frozen=True)
class TuckerBasis:
    """All that another rank needs: the full bases, strongest first, and the kernel in them.

    A slice of it is the truncated higher-order SVD. `kept[p, q]` is the squared norm of the slice (p, q).
    """

    core: Tensor  # (out, in, *kernel), rotated
    factors: tuple[Tensor, Tensor]  # (out, out), (in, in)
    kept: np.ndarray  # (out + 1, in + 1)
    values: tuple[np.ndarray, np.ndarray]  # singular values of the two unfoldings, descending

    @cached_property
    def total(self) -> float:
        """The squared norm of the kernel."""
        return float(self.kept[-1, -1])

    def slice(self, rank: tuple[int, int]) -> Tucker2:
        """The truncated decomposition at (r_out, r_in): views, no copy."""
        p, q = rank
        return Tucker2(self.core[:p, :q], (self.factors[0][:, :p], self.factors[1][:, :q]))

    def error(self, rank: Sequence[int]) -> float:
        """Relative Frobenius error of the slice, exact."""
        return relative(self.total - float(self.kept[rank[0], rank[1]]), self.total)


def full_rank(out: int, inp: int, taps: int) -> tuple[int, int]:
    """The ranks (r_out, r_in) of a generic (out, in, taps) kernel, at which Tucker-2 is exact."""
    return min(out, inp * taps), min(inp, out * taps)


@check_kinds
def basis(weight: Tensor) -> TuckerBasis:
    """Decompose a kernel (out, in, *kernel) once, for every rank.

    Raises: `BadValue` for a weight that is empty, not finite, or of fewer than 3 dimensions.
    """
    weight = checked(weight, "Tucker", (3, 4, 5))
    out, inp, kernel = weight.shape[0], weight.shape[1], weight.shape[2:]
    u, out_values = _principal(weight.reshape(out, -1))
    v, in_values = _principal(weight.transpose(0, 1).reshape(inp, -1))
    core = (u.T @ weight.reshape(out, -1)).reshape(out, inp, -1)
    core = torch.einsum("pik,iq->pqk", core, v)
    energy = core.double().square().sum(-1) if core.numel() < 1 << 16 else core.square().sum(-1).double()
    kept = np.zeros((out + 1, inp + 1))
    kept[1:, 1:] = energy.cumsum(0).cumsum(1).numpy()
    return TuckerBasis(core.reshape(out, inp, *kernel), (u, v), kept, (out_values, in_values))


def decompose(
    weight: Tensor,
    rank: tuple[int, int],
    *,
    sweeps: int = 4,
    start: TuckerBasis | None = None,
    moment: Tensor | None = None,
) -> Tucker2:
    """As `lowrank.tucker2`, by orthogonal iteration from the cached basis `start`, or by regression for `moment`.

    Raises: `BadValue` for a bad weight, or a rank outside 1..full.
    """
    weight = checked(weight, "Tucker", (3, 4, 5))
    p, q = checked_ranks(weight.shape, rank)
    if moment is not None:
        return _weighted(weight, (p, q), moment)
    w = weight.flatten(2)
    total = float(w.square().sum())
    u, v, kept = _start(w, (p, q), start)
    steep = w.numel() > SMALL and _steep(total - kept, kept, (w.shape[0] * w.shape[1], p * q))
    error = relative(total - kept, total)
    for _ in range(sweeps):
        v, _ = _leading(_project_out(w, u).transpose(0, 1).flatten(1), q)
        if steep:
            break
        u, kept = _leading(_project_in(w, v).flatten(1), p)
        before, error = error, relative(total - kept, total)
        if before - error < GAIN * error:
            break
    core = torch.matmul(_project_out(w, u).transpose(1, 2), v).transpose(1, 2)
    return Tucker2(core.reshape(p, q, *weight.shape[2:]), (u, v))


def checked_ranks(shape: Sequence[int], rank: tuple[int, int]) -> tuple[int, int]:
    """(r_out, r_in) for a kernel of this shape. Raises: `BadValue` unless each lies in 1..full."""
    full = full_rank(shape[0], shape[1], prod(shape[2:]))
    whole = len(rank) == 2 and all(isinstance(r, int) and not isinstance(r, bool) for r in rank)
    if not whole or not all(1 <= r <= most for r, most in zip(rank, full, strict=True)):
        raise BadValue(
            f"Tucker: ranks must be two whole numbers (out, in) from (1, 1) to the full rank {full}, got {rank!r}."
        )
    p, q = rank
    return p, q


def _weighted(weight: Tensor, rank: tuple[int, int], moment: Tensor) -> Tucker2:
    p, q = rank
    fit = projected_regression(weight.flatten(2), moment, q, p)
    core = fit.core.reshape(p, q, *weight.shape[2:])
    return Tucker2(core.to(weight.dtype), (fit.out.to(weight.dtype), fit.projection.T.to(weight.dtype)))


def _principal(unfolding: Tensor) -> tuple[Tensor, np.ndarray]:
    """Left singular vectors, strongest first, and singular values of an unfolding (n, m)."""
    values, vectors = torch.linalg.eigh(unfolding @ unfolding.T)
    return vectors.flip(1), values.flip(0).clamp_min(0).sqrt().double().numpy()


def _start(w: Tensor, rank: tuple[int, int], start: TuckerBasis | None) -> tuple[Tensor, Tensor, float]:
    """Bases (out, r_out), (in, r_in) to sweep from, and the squared norm that they keep."""
    p, q = rank
    if start is not None:
        return start.factors[0][:, :p], start.factors[1][:, :q], float(start.kept[p, q])
    v, _ = _leading(w.transpose(0, 1).flatten(1), q)
    u, kept = _leading(_project_in(w, v).flatten(1), p)
    return u, v, kept


def _steep(dropped: float, kept: float, places: tuple[int, int]) -> bool:
    """Whether a dropped direction carries far less than a kept one, of (all, kept) places of the core."""
    rest = places[0] - places[1]
    return rest == 0 or dropped / rest < STEEP * kept / places[1]


def _leading(unfolding: Tensor, rank: int) -> tuple[Tensor, float]:
    """An orthonormal basis of the leading left singular space of an unfolding (n, m); its squared norm."""
    values, vectors = torch.linalg.eigh(unfolding @ unfolding.T)
    return vectors[:, -rank:], float(values[-rank:].sum())


def _project_in(w: Tensor, v: Tensor) -> Tensor:
    """(out, in, taps) -> (out, q, taps)."""
    return torch.matmul(v.T, w)


def _project_out(w: Tensor, u: Tensor) -> Tensor:
    """(out, in, taps) -> (p, in, taps)."""
    return (u.T @ w.flatten(1)).reshape(u.shape[1], *w.shape[1:])
