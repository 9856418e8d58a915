"""CP against TensorLy, its sensitivity, and exactness at the full rank."""

from __future__ import annotations

import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import parafac

from workbench.errors import BadValue
from workbench.lowrank import cp, polyadic, sensitivity
from workbench.lowrank.alternating import alternate, khatri_rao
from workbench.lowrank.polyadic import DEGENERATE, fit, full_rank, intensity


def planted(shape: tuple[int, ...], rank: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    factors = [torch.randn(n, rank, generator=generator) for n in shape]
    return (factors[0] @ khatri_rao(factors[1:]).T).reshape(shape)


def error(weight: torch.Tensor, approximation: torch.Tensor) -> float:
    return float((weight - approximation).norm() / weight.norm())


@pytest.mark.parametrize("shape", [(12, 10, 3, 3), (10, 12, 9)])
def test_a_planted_tensor_is_found(shape: tuple[int, ...]) -> None:
    weight = planted(shape, 4)
    found = cp(weight, 4, slack=1e-3)
    assert found.error < 1e-2
    assert error(weight, found.to_tensor()) == pytest.approx(found.error, abs=1e-4)


def test_error_and_sensitivity_against_tensorly() -> None:
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    with tensorly.backend_context("pytorch"):
        fits = [parafac(weight, 16, init="random", random_state=seed, n_iter_max=60) for seed in range(3)]
        errors = [error(weight, tensorly.cp_to_tensor(fit)) for fit in fits]
    best = errors.index(min(errors))
    found = cp(weight, 16, slack=0.005)
    assert found.error <= 1.01 * min(errors)
    assert found.sensitivity < sensitivity(fits[best].factors, fits[best].weights)


def test_correction_trades_a_bounded_error_for_sensitivity() -> None:
    weight = torch.randn(8, 8, 9, generator=torch.Generator().manual_seed(1))
    tight, loose = (cp(weight, 8, slack=slack, starts=1) for slack in (1e-4, 0.03))
    assert loose.error <= 1.031 * tight.error
    assert loose.sensitivity < tight.sensitivity


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 5)] * 4), seed=st.integers(0, 9), ways=st.sampled_from([3, 4]))
def test_full_rank_is_exact(shape: tuple[int, ...], seed: int, ways: int) -> None:
    weight = torch.randn(shape[:ways], generator=torch.Generator().manual_seed(seed))
    assert error(weight, cp(weight, full_rank(weight.shape)).to_tensor()) < 1e-5


def test_sensitivity_is_the_error_per_variance_of_the_factors() -> None:
    factors = fit(planted((8, 7, 6), 3, seed=3), 3)
    generator = torch.Generator().manual_seed(0)
    exact = (factors[0] @ khatri_rao(factors[1:]).T).reshape(8, 7, 6)
    squares = []
    for _ in range(400):
        noisy = [f + 1e-3 * torch.randn(f.shape, generator=generator) for f in factors]
        squares.append(float(((noisy[0] @ khatri_rao(noisy[1:]).T).reshape(8, 7, 6) - exact).square().sum()))
    assert sensitivity(factors) == pytest.approx(sum(squares) / 400 / 1e-6, rel=0.1)


def test_terms_that_cancel_are_called_degenerate() -> None:
    """The classical tensor of border rank two: a*a*b + a*b*a + b*a*a as n((a + b/n)^3 - a^3)."""
    a, b, n = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 100.0
    near = a + b / n
    norms = torch.tensor([n * float(near.norm()) ** 3, -n])
    unit = torch.stack([near / near.norm(), a], dim=1)
    total = sum(w * torch.einsum("i,j,k->ijk", unit[:, r], unit[:, r], unit[:, r]) for r, w in enumerate(norms))
    squares = float(norms.square().sum() / torch.as_tensor(total).square().sum())
    assert intensity([unit * norms, unit, unit]) == pytest.approx(squares, rel=1e-3)
    assert squares > DEGENERATE
    assert not cp(planted((6, 6, 6), 3), 3).degenerate


@pytest.mark.parametrize("rank", [0, -1, 37, 1.5, True])
def test_ranks_outside_the_full_one_are_refused(rank: int) -> None:
    with pytest.raises(BadValue, match="full rank 36|whole number"):
        cp(torch.ones(4, 4, 3, 3), rank)


def test_zeros_and_nan() -> None:
    assert float(cp(torch.zeros(4, 4, 3, 3), 5).to_tensor().abs().max()) == 0
    with pytest.raises(BadValue, match="NaN"):
        cp(torch.full((4, 4, 3, 3), float("nan")), 5)


def test_a_large_kernel_is_fitted_in_the_sweeps_that_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(24, 20, 3, 3, generator=torch.Generator().manual_seed(2))
    whole = error(weight, cp(weight, 30).to_tensor())
    made: list[int] = []
    monkeypatch.setattr(polyadic, "alternate", lambda w, f, sweeps: made.append(sweeps) or alternate(w, f, sweeps))
    sweep = 2 * weight.numel() * 30 + 4 * 30**3  # multiply-adds
    monkeypatch.setattr(polyadic, "WORK", 40 * sweep)
    assert whole < error(weight, cp(weight, 30).to_tensor()) < 1.1 * whole
    assert made == [10, 10, 30]
