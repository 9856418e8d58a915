"""EVBMF finds planted ranks under noise, and nothing in pure noise (Nakajima et al. 2013, section 5)."""

from __future__ import annotations

import pytest
import torch

from workbench.errors import BadValue
from workbench.lowrank import evbmf
from workbench.lowrank.bayes import from_singular_values


def seen(m: int, n: int, rank: int, deviation: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(m, rank, generator=generator) @ torch.randn(rank, n, generator=generator)
    return signal + deviation * torch.randn(m, n, generator=generator)


@pytest.mark.parametrize(("m", "n"), [(60, 60), (40, 200), (200, 40), (100, 120)])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_planted_ranks_are_found(m: int, n: int, rank: int) -> None:
    found = evbmf(seen(m, n, rank, 0.3))
    assert found.rank == rank
    assert found.noise_variance == pytest.approx(0.09, rel=0.15)


@pytest.mark.parametrize(("m", "n"), [(60, 60), (40, 200)])
def test_pure_noise_has_rank_zero(m: int, n: int) -> None:
    assert evbmf(seen(m, n, 1, 1.0) - seen(m, n, 1, 0.0)).rank == 0


def test_weak_components_drown_in_strong_noise() -> None:
    assert evbmf(seen(60, 80, 5, 0.1)).rank == 5
    assert evbmf(seen(60, 80, 5, 30.0)).rank < 5


def test_singular_values_are_shrunk_towards_the_signal() -> None:
    matrix = seen(80, 100, 3, 0.5)
    found = evbmf(matrix)
    observed = torch.linalg.svdvals(matrix.double())[:3].numpy()
    assert (found.values < observed).all()
    assert (found.values > 0.8 * observed).all()


def test_a_known_noise_variance_is_used() -> None:
    assert evbmf(seen(60, 80, 4, 0.3), noise_variance=0.09).rank == 4


def test_zeros_have_rank_zero_and_wrong_counts_are_refused() -> None:
    assert evbmf(torch.zeros(4, 6)).rank == 0
    with pytest.raises(BadValue, match="all 4 singular values"):
        from_singular_values(torch.ones(3).numpy(), (4, 6))
