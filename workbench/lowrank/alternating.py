"""Alternating least squares for CP, and error-preserving correction of what it finds.

Alternating least squares often ends in large rank-one terms that cancel: the error is low, but the
slightest change of a factor (rounding, fine-tuning) breaks the layer. Phan et al. 2020, "Stable
low-rank tensor decomposition for compression of convolutional neural network", lower the sensitivity
at a bounded error; each half step is a ridge whose strength follows from the bound by bisection.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from workbench.interface.arguments import check_kinds
from workbench.lowrank.checks import relative

Tensor = torch.Tensor


def khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """Columnwise Kronecker product of (n_1, r), (n_2, r), ... -> (n_1 * n_2 * ..., r)."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return result


@check_kinds
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


def error_of(weight: Tensor, factors: Sequence[Tensor]) -> float:
    """Relative Frobenius error of the sum of rank-one terms, weights within the factors."""
    approximation = (factors[0] @ khatri_rao(factors[1:]).T).reshape(weight.shape)
    norm = float(weight.double().square().sum())
    return relative(float((weight - approximation).double().square().sum()), norm)


def alternate(weight: Tensor, factors: list[Tensor], sweeps: int) -> list[Tensor]:
    """Alternating least squares from `factors` until the error settles: balanced factors."""
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
            factors = balanced(factors)
    return balanced(factors)


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


def balanced(factors: Sequence[Tensor]) -> list[Tensor]:
    """The same terms with column norms shared equally among the factors."""
    norms = torch.stack([factor.norm(dim=0).clamp_min(1e-30) for factor in factors])
    share = norms.double().log().mean(0).exp().to(norms.dtype)
    return [factor * (share / norm) for factor, norm in zip(factors, norms, strict=True)]


def correct(weight: Tensor, factors: list[Tensor], slack: float, sweeps: int = 60) -> list[Tensor]:
    """Lower the sensitivity while the squared error stays at most (1 + slack)^2 times what it is."""
    modes = _Modes(weight)
    bound = max(error_of(weight, factors) * (1 + slack), 1e-6) ** 2 * modes.norm
    before = sensitivity(factors)
    for _ in range(sweeps):
        for mode in range(len(factors)):
            better = _least_sensitive(modes, factors, mode, bound)
            if better is not None:
                factors = [*factors[:mode], better, *factors[mode + 1 :]]
        factors = balanced(factors)
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


def initial(weight: Tensor, rank: int, seed: int) -> list[Tensor]:
    """Start 0: the strongest singular triplets of the taps in their principal basis; others: random."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(n, rank, generator=generator, dtype=weight.dtype) for n in weight.shape]
    if seed:
        return balanced(noise)
    start = _strongest_triplets(weight, rank)
    return balanced([a + 1e-2 * a.abs().mean() * b for a, b in zip(start, noise, strict=True)])


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
