"""Truncated SVD of matrices and of the unfoldings that turn a convolution into two."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from workbench.interface.arguments import check_kinds
from workbench.lowrank.checks import checked, checked_rank
from workbench.lowrank.moments import principal_outputs, projected_regression

Tensor = torch.Tensor


@dataclass(frozen=True)
class SVD:
    """matrix ~ u @ diag(s) @ v.T."""

    u: Tensor  # (m, r), orthonormal columns
    s: Tensor  # (r,), descending
    v: Tensor  # (n, r), orthonormal columns

    def matrix(self) -> Tensor:
        """The matrix that the factors stand for, (m, n)."""
        return (self.u * self.s) @ self.v.T

    def slice(self, rank: int) -> SVD:
        """The leading `rank` terms: views, no copy."""
        return SVD(self.u[:, :rank], self.s[:rank], self.v[:, :rank])

    def halves(self) -> tuple[Tensor, Tensor]:
        """Two balanced factors (m, r) and (r, n) whose product is the matrix."""
        root = self.s.sqrt()
        return self.u * root, (self.v * root).T


@dataclass(frozen=True)
class Separated:
    """weight[o, i, h, w] ~ sum over r of horizontal[o, r, w] * vertical[r, i, h]."""

    vertical: Tensor  # (r, in, k_h)
    horizontal: Tensor  # (out, r, k_w)

    def weight(self) -> Tensor:
        """The kernel that the factors stand for, (out, in, k_h, k_w)."""
        return torch.einsum("orw,rih->oihw", self.horizontal, self.vertical)


@check_kinds
def svd(matrix: Tensor, rank: int | None = None) -> SVD:
    """The best rank-`rank` approximation of a matrix (m, n) (Eckart & Young 1936); None keeps all.

    Raises: `BadValue` for a matrix that is empty or not finite, or a rank outside 1..min(m, n).

    >>> svd(torch.diag(torch.tensor([3.0, 2.0, 1.0])), 2).s
    tensor([3., 2.])
    """
    matrix = checked(matrix, "SVD", (2,))
    rank = min(matrix.shape) if rank is None else checked_rank(rank, min(matrix.shape), "SVD")
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return SVD(u, s, vt.T).slice(rank)


def two_layers(matrix: Tensor, rank: int, moment: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights (r, n) and (m, r) of two linear layers in place of one with this matrix (m, n).

    With `moment` (n, n) of the inputs, the principal components of the outputs span the second
    (Zhang et al. 2015, "Accelerating very deep convolutional networks", eq. 7): the optimum.
    """
    matrix = checked(matrix, "SVD", (2,))
    checked_rank(rank, min(matrix.shape), "SVD")
    if moment is None:
        second, first = svd(matrix, rank).halves()
        return first, second
    exact = matrix.to(moment.dtype)
    if rank == matrix.shape[1] < matrix.shape[0]:
        return torch.eye(rank, dtype=matrix.dtype), matrix
    basis = principal_outputs(exact, moment, rank)
    return (basis.T @ exact).to(matrix.dtype), basis.to(matrix.dtype)


@check_kinds
def spatial(weight: Tensor, rank: int, moment: Tensor | None = None) -> Separated:
    """Split a kernel (out, in, k_h, k_w) into k_h x 1 and 1 x k_w (Jaderberg et al. 2014, scheme 2).

    With `moment` of the input patches (in * k_h * k_w squared) it minimises the error of the outputs.
    Raises: `BadValue` for a bad weight, or a rank outside 1..min(in * k_h, out * k_w).
    """
    weight = checked(weight, "SpatialSVD", (4,))
    out, inp, high, wide = weight.shape
    checked_rank(rank, min(inp * high, out * wide), "SpatialSVD")
    if moment is None:
        first, second = two_layers(spatial_unfolding(weight), rank)
        return Separated(first.reshape(rank, inp, high), second.reshape(out, wide, rank).transpose(1, 2))
    fit = projected_regression(weight.reshape(out, inp * high, wide), moment, rank, None)
    vertical = fit.projection.reshape(rank, inp, high)
    return Separated(vertical.to(weight.dtype), fit.core.to(weight.dtype))


def spatial_unfolding(weight: Tensor) -> Tensor:
    """(out, in, k_h, k_w) -> (out * k_w, in * k_h), whose SVD separates the two directions."""
    out, inp, high, wide = weight.shape
    return weight.permute(0, 3, 1, 2).reshape(out * wide, inp * high)
