"""The rank of a matrix seen through noise: empirical variational Bayesian matrix factorization.

Nakajima, Sugiyama, Babacan & Tomioka 2013, "Global analytic solution of fully-observed variational
Bayesian matrix factorization", JMLR 14, theorem 2 and corollary 1 (rank and shrinkage at a known noise
variance) and equation 22 (the free energy that the noise variance minimises).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workbench.errors import BadValue
from workbench.interface.arguments import check_kinds
from workbench.lowrank.checks import checked

#: Approximate optimum of the threshold's free constant: tau is this times the root of the aspect ratio.
TAU = 2.5129


@dataclass(frozen=True)
class EVBMF:
    """The retained rank, the shrunk singular values (rank,), and the estimated noise variance."""

    rank: int
    values: np.ndarray
    noise_variance: float


@check_kinds
def evbmf(matrix: torch.Tensor, noise_variance: float | None = None) -> EVBMF:
    """The globally optimal empirical Bayesian rank of a matrix (m, n); no parameter to choose.

    Pass `noise_variance` where it is known. Raises: `BadValue` for a matrix that is empty or not finite.

    >>> left, right = torch.randn(60, 3), torch.randn(3, 90)
    >>> evbmf(left @ right + 0.1 * torch.randn(60, 90)).rank
    3
    """
    matrix = checked(matrix, "EVBMF", (2,))
    values = torch.linalg.svdvals(matrix.double()).numpy()
    return from_singular_values(values, (matrix.shape[0], matrix.shape[1]), noise_variance)


def from_singular_values(values: np.ndarray, shape: Sequence[int], noise_variance: float | None = None) -> EVBMF:
    """The same from all min(m, n) singular values, descending, of an (m, n) matrix."""
    small, large = sorted(shape)
    values = np.sort(np.asarray(values, dtype=float))[::-1]
    if len(values) != small:
        wanted = f"all {small} singular values of a {shape[0]} x {shape[1]} matrix"
        raise BadValue(f"EVBMF needs {wanted}, got {len(values)}.")
    if not values.any():
        return EVBMF(0, values[:0], 0.0)
    variance = _noise(values, small, large) if noise_variance is None else noise_variance
    if variance <= 0:
        return EVBMF(int((values > 0).sum()), values[values > 0], 0.0)
    kept = values[values > _threshold(small, large) * math.sqrt(large * variance)]
    squared = kept**2
    slack = 1 - (small + large) * variance / squared
    root = np.sqrt(np.maximum(slack**2 - 4 * small * large * variance**2 / squared**2, 0.0))
    return EVBMF(len(kept), kept / 2 * (slack + root), variance)


def _threshold(small: int, large: int) -> float:
    """The smallest retained singular value, in units of sqrt(large * noise variance)."""
    aspect = small / large
    tau = TAU * math.sqrt(aspect)
    return math.sqrt((1 + tau) * (1 + aspect / tau))


def _noise(values: np.ndarray, small: int, large: int) -> float:
    """The noise variance that minimises the free energy, between its analytic bounds."""
    aspect, edge = small / large, _threshold(small, large) ** 2
    squared = np.maximum(values**2, 1e-14 * values[0] ** 2)
    most = max(min(math.ceil(small / (1 + aspect)) - 1, small - 1), 0)
    upper = float(squared.sum() / (small * large))
    tail = squared[most:]
    lower = max(float(squared[min(most, small - 1)] / (large * edge)), float(tail.mean() / large), 1e-14 * upper)
    lower = min(lower, upper)

    def energy(log_variance: float) -> float:
        return _free_energy(math.exp(log_variance), squared / large, aspect, edge)

    return math.exp(_minimum(energy, math.log(lower), math.log(upper)))


def _free_energy(variance: float, squared: np.ndarray, aspect: float, edge: float) -> float:
    """Free energy up to constants, of squared singular values divided by the larger dimension."""
    x = squared / variance
    signal, noise = x[x > edge], x[x <= edge]
    tau = (signal - (1 + aspect) + np.sqrt((signal - (1 + aspect)) ** 2 - 4 * aspect)) / 2
    # x - log x over the noise; the signal's terms carry the gain of explaining it.
    total = np.sum(noise - np.log(noise)) + np.sum(signal - tau)
    total += np.sum(np.log((tau + 1) / signal)) + aspect * np.sum(np.log(tau / aspect + 1))
    return float(total)


def _minimum(function: Callable[[float], float], low: float, high: float, steps: int = 64) -> float:
    """The minimiser on [low, high]: a grid, as the function has kinks, then golden-section around its best."""
    grid = np.linspace(low, high, steps)
    best = int(np.argmin([function(float(x)) for x in grid]))
    a, b = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, steps - 1)])
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(50):
        c, d = b - golden * (b - a), a + golden * (b - a)
        a, b = (a, d) if function(c) < function(d) else (c, b)
    return (a + b) / 2
