"""CP of convolution kernels by alternating least squares, then error-preserving correction.

Alternating least squares often ends in large rank-one terms that cancel: the error is low, but the
slightest change of a factor (rounding, fine-tuning) breaks the layer. Phan et al. 2020, "Stable
low-rank tensor decomposition for compression of convolutional neural network", lower the sensitivity
at a bounded error; each half step is a ridge whose strength follows from the bound by bisection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from workbench.lowrank.checks import checked, checked_rank, relative
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


def sensitivity(factors: Sequence[Tensor], weights: Tensor | None = None) -> float:
    """Expected squared error of the tensor per unit variance of noise on its factors.

    With the weights shared equally among the factors (Phan et al. 2020, eq. 7, for any number of modes):
    the sum over modes n of size_n * sum over r of the other factors' squared column norms.
    """
    norms = [factor.double().square().sum(0) for factor in factors]
    terms = torch.stack(norms).prod(0)
    if weights is not None:
        terms = terms * weights.double().square()
    modes = len(factors)
    others = terms.clamp_min(1e-300) ** ((modes - 1) / modes)
    return float(others.sum() * sum(len(factor) for factor in factors))


def khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """Columnwise Kronecker product of (n_1, r), (n_2, r), ... -> (n_1 * n_2 * ..., r)."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return result


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
    fits = [_als(weight, _initial(weight, rank, seed), sweeps) for seed in range(starts)]
    factors, count = min(fits, key=lambda fit: _error(weight, fit[0]))
    return _result(weight, _correct(weight, factors, slack), count)


class _Modes:
    """Products of a kernel with factors, by two matrix products a sweep (no copy larger than in * taps * r)."""

    def __init__(self, weight: Tensor) -> None:
        self.flat = weight.flatten(1)
        self.shape = tuple(weight.shape)
        self.norm = float(weight.double().square().sum())
        self._contracted: tuple[Tensor, Tensor] | None = None

    def mttkrp(self, factors: Sequence[Tensor], mode: int) -> Tensor:
        """The unfolding along `mode` times the Khatri-Rao product of the other factors, (n_mode, r)."""
        if mode == 0:
            return self.flat @ khatri_rao(factors[1:])
        spatial = khatri_rao(factors[2:])
        seen = self._out_contracted(factors[0]).reshape(self.shape[1], -1, spatial.shape[1])
        if mode == 1:
            return (seen * spatial).sum(1)
        reduced = (seen * factors[1][:, None, :]).sum(0)
        return self._spatial(reduced, factors[2:], mode - 2)

    def _out_contracted(self, out: Tensor) -> Tensor:
        if self._contracted is None or self._contracted[0] is not out:
            self._contracted = (out, self.flat.T @ out)
        return self._contracted[1]

    @staticmethod
    def _spatial(reduced: Tensor, factors: Sequence[Tensor], which: int) -> Tensor:
        if len(factors) == 1:
            return reduced
        grid = reduced.reshape(len(factors[0]), len(factors[1]), -1)
        return (grid * factors[1]).sum(1) if which == 0 else (grid * factors[0][:, None, :]).sum(0)


def _als(weight: Tensor, factors: list[Tensor], sweeps: int) -> tuple[list[Tensor], int]:
    modes = _Modes(weight)
    before = float("inf")
    for sweep in range(sweeps):
        ridge = 1e-8 + 1e-2 * 0.7**sweep  # a fading ridge keeps early terms from growing against each other
        for mode in range(len(factors)):
            seen, gram = modes.mttkrp(factors, mode), _gram(factors, mode)
            factors[mode] = _ridge(seen, gram, ridge)
        last = len(factors) - 1
        newest = factors[last].double()
        explained = newest * (2 * seen.double() - newest @ gram)
        error = relative(modes.norm - float(explained.sum()), modes.norm)
        if abs(before - error) < 1e-6 * max(error, 1e-6) or error < 1e-7:
            break
        before = error
        if sweep % 5 == 4:
            factors = _balance(factors)
    return _balance(factors), sweep + 1


def _gram(factors: Sequence[Tensor], skip: int) -> Tensor:
    """The Gram matrix (r, r) of the Khatri-Rao product of all factors but one, in double precision."""
    grams = [(f.double().T @ f.double()) for n, f in enumerate(factors) if n != skip]
    return torch.stack(grams).prod(0)


def _ridge(seen: Tensor, gram: Tensor, ridge: float) -> Tensor:
    eye = torch.eye(len(gram), dtype=gram.dtype)
    scale = float(gram.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(gram + ridge * scale * eye)
    if int(failed):
        solution: Tensor = torch.linalg.lstsq(gram, seen.double().T, driver="gelsd").solution
        return solution.T.to(seen.dtype)
    return torch.cholesky_solve(seen.double().T, factor).T.to(seen.dtype)


def _balance(factors: Sequence[Tensor]) -> list[Tensor]:
    """The same terms with column norms shared equally among the factors."""
    norms = torch.stack([factor.norm(dim=0).clamp_min(1e-30) for factor in factors])
    share = norms.double().log().mean(0).exp().to(norms.dtype)
    return [factor * (share / norm) for factor, norm in zip(factors, norms, strict=True)]


def _correct(weight: Tensor, factors: list[Tensor], slack: float, sweeps: int = 60) -> list[Tensor]:
    """Lower the sensitivity while the squared error stays at most (1 + slack)^2 times what it is."""
    modes = _Modes(weight)
    bound = max(_error(weight, factors) * (1 + slack), 1e-6) ** 2 * modes.norm
    before = sensitivity(factors)
    for _ in range(sweeps):
        for mode in range(len(factors)):
            better = _least_sensitive(modes, factors, mode, bound)
            if better is not None:
                factors = [*factors[:mode], better, *factors[mode + 1 :]]
        factors = _balance(factors)
        now = sensitivity(factors)
        if now > before * 0.998:
            break
        before = now
    return factors


def _least_sensitive(modes: _Modes, factors: list[Tensor], mode: int, bound: float) -> Tensor | None:
    """The factor of one mode with the least sensitivity at a squared error of at most `bound`.

    In the eigenbasis of the scaled Gram matrix the ridge m / (value + mu) leaves the squared error
    |X|^2 - sum m^2 (value + 2 mu) / (value + mu)^2, which rises with mu: bisect for the bound.
    """
    norms = torch.stack([factor.double().square().sum(0) for factor in factors])
    others = [n for n in range(len(factors)) if n != mode]
    cost = sum(len(factors[n]) * torch.stack([norms[m] for m in others if m != n]).prod(0) for n in others)
    price = torch.as_tensor(cost)
    scale = price.clamp_min(1e-12 * float(price.max()) + 1e-100).rsqrt()  # terms may vanish
    values, vectors = torch.linalg.eigh(_gram(factors, mode) * scale[:, None] * scale)
    values = values.clamp_min(0)
    seen = (modes.mttkrp(factors, mode).double() * scale) @ vectors
    energy = seen.square().sum(0)

    def error(mu: float) -> float:
        return modes.norm - float((energy * (values + 2 * mu) / (values + mu) ** 2).sum())

    low, high = float(values[-1]) * 1e-13, float(values[-1]) * 1e3
    if high <= 0 or error(low) > bound:
        return None
    for _ in range(36):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if error(middle) <= bound else (low, middle)
    better: Tensor = ((seen / (values + low)) @ vectors.T) * scale
    return better.to(factors[mode].dtype)


def _initial(weight: Tensor, rank: int, seed: int) -> list[Tensor]:
    """Start 0: the strongest singular triplets of the taps in their principal basis; others: random."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(n, rank, generator=generator, dtype=weight.dtype) for n in weight.shape]
    if seed:
        return _balance(noise)
    start = _strongest_triplets(weight, rank)
    return _balance([a + 1e-2 * a.abs().mean() * b for a, b in zip(start, noise, strict=True)])


def _strongest_triplets(weight: Tensor, rank: int) -> list[Tensor]:
    rotated, bases = weight, []
    for mode in range(2, weight.dim()):
        unfolding = rotated.movedim(mode, 0).flatten(1)
        vectors = torch.linalg.eigh(unfolding @ unfolding.T)[1]
        rotated = torch.tensordot(rotated, vectors, dims=([mode], [0])).movedim(-1, mode)
        bases.append(vectors)
    taps = rotated.flatten(2).permute(2, 0, 1)
    u, s, vt = torch.linalg.svd(taps, full_matrices=False)
    order = s.flatten().argsort(descending=True)[:rank]
    order = order.repeat(-(-rank // len(order)))[:rank]
    tap, index = order // s.shape[1], order % s.shape[1]
    places = torch.unravel_index(tap, weight.shape[2:])
    spatial = [basis[:, place] for basis, place in zip(bases, places, strict=True)]
    return [u[tap, :, index].T * s[tap, index], vt[tap, index].T, *spatial]


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


def _error(weight: Tensor, factors: Sequence[Tensor]) -> float:
    approximation = (factors[0] @ khatri_rao(factors[1:]).T).reshape(weight.shape)
    norm = float(weight.double().square().sum())
    return relative(float((weight - approximation).double().square().sum()), norm)


def _result(weight: Tensor, factors: Sequence[Tensor], sweeps: int) -> CP:
    norms = torch.stack([factor.norm(dim=0) for factor in factors])
    units = tuple(f / n.clamp_min(1e-30) for f, n in zip(factors, norms, strict=True))
    weights = norms.prod(0)
    total = float((factors[0] @ khatri_rao(factors[1:]).T).double().square().sum())
    intensity = float(weights.double().square().sum()) / total if total > 0 else 1.0
    return CP(weights, units, _error(weight, factors), sensitivity(factors), intensity, sweeps)
