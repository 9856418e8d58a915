"""Second moments of a layer's input patches, and least squares under them.

The expected squared error of a linear layer's outputs, E|(W - V) x|^2 = tr((W - V) S (W - V)^T) with
S = E[x x^T], needs nothing of the data but S. Every data-aware fit here minimises that quantity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

Tensor = torch.Tensor

#: Share of the mean eigenvalue added to the diagonal of a moment, so that unseen directions keep some weight.
RIDGE = 1e-3


@dataclass(frozen=True)
class Projected:
    """W[o, (p, k)] ~ out[o, a] * core[a, q, k] * projection[q, p]."""

    out: Tensor  # (out, r_out)
    core: Tensor  # (r_out, r_in, taps)
    projection: Tensor  # (r_in, inputs)


def regularised(moment: Tensor, samples: int) -> Tensor:
    """A symmetric positive definite moment (..., d, d) of unit scale from an estimate over `samples` patches.

    The ridge grows when there are few samples a dimension (a fixed-target shrinkage). Where nothing was
    ever seen (all zero) it becomes the identity: the fit is then the plain one. Directions that
    the rounding of a difference left below zero (inputs that hardly vary around a large mean) count as unseen.
    """
    return factored(moment, samples)[0]


def factored(moment: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """The `regularised` moment, and its Cholesky factor, lower triangular."""
    size = moment.shape[-1]
    share = RIDGE + 0.1 * size / (size + samples)
    mean = moment.diagonal(dim1=-2, dim2=-1).mean(-1)
    dead = mean <= 0
    scale = torch.where(dead, torch.ones_like(mean), mean)[..., None, None]
    diagonal = torch.where(dead, torch.ones_like(mean), share * torch.ones_like(mean))
    shifted = (moment + moment.mT).div_(2 * scale)  # large moments: each copy of one is a fifth of a gigabyte
    shifted.diagonal(dim1=-2, dim2=-1).add_(diagonal[..., None])
    lower, failed = torch.linalg.cholesky_ex(shifted)
    unsound = failed != 0
    if not bool(unsound.any()):
        return shifted, lower
    symmetric = (moment + moment.mT) / (2 * scale)
    values, vectors = torch.linalg.eigh(torch.where(unsound[..., None, None], symmetric, 0.0))
    sound: Tensor = (vectors * (values.clamp_min(0.0) + diagonal[..., None])[..., None, :]) @ vectors.mT
    sound = torch.where(unsound[..., None, None], sound, shifted)
    return sound, torch.linalg.cholesky(sound)


def regress(weight: Tensor, moment: Tensor, regressors: Tensor) -> Tensor:
    """The (out, r) map from z = regressors @ x to W x with the least expected squared error.

    weight (out, d), moment (d, d), regressors (r, d).
    """
    seen = regressors @ moment
    return solve(seen @ regressors.T, seen @ weight.T).T


def solve(normal: Tensor, right: Tensor) -> Tensor:
    """Solve a symmetric positive system; a tiny ridge keeps it sound where regressors are dependent."""
    tiny = 1e-7 if normal.dtype == torch.float32 else 1e-12
    for _ in range(8):
        jitter = tiny * float(normal.diagonal().mean().abs()) + torch.finfo(normal.dtype).tiny
        factor, failed = torch.linalg.cholesky_ex(normal + jitter * torch.eye(len(normal), dtype=normal.dtype))
        if not int(failed):
            return torch.cholesky_solve(right, factor)
        tiny *= 10
    solution: Tensor = torch.linalg.lstsq(normal, right, driver="gelsd").solution
    return solution


def output_error(weight: Tensor, approximation: Tensor, moment: Tensor) -> float:
    """Relative root mean square error of the outputs, of two weights (out, d) under a moment (d, d)."""
    difference = (weight - approximation).to(moment.dtype)
    total = float(((weight.to(moment.dtype) @ moment) * weight).sum())
    return float(((difference @ moment) * difference).sum().clamp_min(0) / total) ** 0.5 if total > 0 else 0.0


def projected_regression(weight: Tensor, moment: Tensor, rank_in: int, rank_out: int | None) -> Projected:
    """Project the inputs of every tap onto `rank_in` directions, then regress; `rank_out` None keeps all.

    weight (out, inputs, taps), moment (inputs * taps, inputs * taps). The projection is the best one when
    taps are alike and independent (their pooled moment whitens the input, as in a whitened SVD); given it,
    `out` and `core` are the global optimum, a reduced-rank regression (Izenman 1975).
    """
    out, inputs, taps = weight.shape
    flat = weight.reshape(out, -1).to(moment.dtype)
    projection = _input_projection(flat.reshape(out, inputs, taps), moment, rank_in)
    wide = moment.reshape(inputs, taps * inputs * taps)
    half = (projection @ wide).reshape(rank_in * taps, inputs * taps)  # (P kron I) S
    normal = torch.matmul(projection, half.reshape(rank_in * taps, inputs, taps)).reshape(rank_in * taps, -1)
    answer = solve(normal, half @ flat.T).T  # (out, rank_in * taps)
    if rank_out is None:
        return Projected(torch.eye(out, dtype=moment.dtype), answer.reshape(out, rank_in, taps), projection)
    basis = principal_outputs(answer, normal, rank_out)
    return Projected(basis, (basis.T @ answer).reshape(rank_out, rank_in, taps), projection)


def principal_outputs(weight: Tensor, moment: Tensor, count: int) -> Tensor:
    """Principal components of the outputs W x, (out, count), under a moment of the inputs.

    W (out, d), moment (d, d). Where there are more outputs than inputs, as in a layer of a word each, their
    covariance, of which most is empty, is not formed: the left singular vectors of W times a root of the moment.
    """
    if weight.shape[0] <= weight.shape[1] or count > weight.shape[1]:
        return top_eigenvectors(weight @ moment @ weight.T, count)
    values, vectors = torch.linalg.eigh((moment + moment.T) / 2)
    root = vectors * values.clamp_min(0).sqrt()
    basis: Tensor = torch.linalg.svd(weight @ root, full_matrices=False)[0]
    return basis[:, :count]


def top_eigenvectors(symmetric: Tensor, count: int) -> Tensor:
    """Eigenvectors of the `count` largest eigenvalues, strongest first."""
    vectors: Tensor = torch.linalg.eigh((symmetric + symmetric.T) / 2)[1]
    return vectors.flip(1)[:, :count]


def _input_projection(weight: Tensor, moment: Tensor, rank: int) -> Tensor:
    """(rank, inputs): leading directions of the whitened input, mapped back to the input itself."""
    _, inputs, taps = weight.shape
    if rank == inputs:
        return torch.eye(inputs, dtype=moment.dtype)
    pooled = torch.einsum("ikjk->ij", moment.reshape(inputs, taps, inputs, taps)) / taps
    lower = torch.linalg.cholesky(pooled)
    unfolding = weight.transpose(0, 1).reshape(inputs, -1)
    whitened = lower.T @ unfolding
    directions = top_eigenvectors(whitened @ whitened.T, rank)
    unwhitened: Tensor = torch.linalg.solve_triangular(lower.T, directions, upper=True)
    return unwhitened.T
