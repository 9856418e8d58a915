"""What spectra say of each rank, against matrices whose singular values are chosen, and numpy's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.lowrank.moments import output_error, solve
from workbench.lowrank.spectra import (
    Spectrum,
    assumed,
    assumed_two,
    group_errors,
    matrix_spectrum,
    train_spectrum,
    triplet_spectrum,
    tucker_spectrum,
)

Tensor = torch.Tensor


def planted(values: list[float], shape: tuple[int, int], seed: int = 0) -> Tensor:
    """A matrix of these singular values."""
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=draw, dtype=torch.float64))[0] for n in shape)
    return left[:, : len(values)] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right[: len(values)]


def kernel(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(*shape, generator=draw, dtype=torch.float64)
    return weight * torch.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1)) ** -0.7


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_the_errors_of_a_matrix_are_the_tails_of_its_singular_values(shape: tuple[int, int], scale: float) -> None:
    found = matrix_spectrum([scale * planted([4.0, 3.0, 2.0, 1.0], shape)])
    tails = [30, 14, 5, 1, 0]
    assert [found.error((rank,)) for rank in range(5)] == pytest.approx([(one / 30) ** 0.5 for one in tails], abs=1e-7)
    # 16 of 30, 25 of 30, 29 of 30
    for share, rank in ((0.5, 1), (0.54, 2), (0.83, 2), (0.84, 3), (0.96, 3), (0.97, 4), (1.0, 4)):
        assert found.energy(share) == (rank,)


def test_groups_are_counted_together() -> None:
    found = matrix_spectrum([planted([3.0, 1.0], (2, 5)), planted([2.0, 2.0], (2, 5), seed=1)])
    assert [found.error((rank,)) for rank in range(3)] == pytest.approx([1, (5 / 18) ** 0.5, 0], abs=1e-7)
    assert found.energy(13 / 18 - 1e-4) == (1,) and found.energy(13 / 18 + 1e-4) == (2,)


def test_zeros_are_exact_at_any_rank() -> None:
    assert [matrix_spectrum([torch.zeros(3, 4)]).error((rank,)) for rank in range(1, 4)] == [0, 0, 0]
    assert tucker_spectrum([torch.zeros(3, 4, 3, 3)]).energy(0.9) == (3, 4)


def unfoldings(weight: Tensor) -> list[np.ndarray]:
    return [weight.movedim(mode, 0).flatten(1).numpy() for mode in (0, 1)]


def test_the_errors_of_two_modes_are_those_of_the_projections() -> None:
    weight = kernel(5, 3, 3, 3)
    found = tucker_spectrum([weight])
    left, right = (np.linalg.svd(one)[0] for one in unfoldings(weight))
    for out, inp in itertools.product(range(1, 6), range(1, 4)):
        p, q = left[:, :out] @ left[:, :out].T, right[:, :inp] @ right[:, :inp].T
        rest = weight.numpy() - np.einsum("ab,bcij,cd->adij", p, weight.numpy(), q)
        assert found.error((out, inp)) == pytest.approx(np.linalg.norm(rest) / float(weight.norm()), abs=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8, 0.95, 0.999])
def test_each_mode_may_lose_half_of_what_may_be_lost(share: float) -> None:
    weights = [kernel(6, 4, 3, 3, seed=seed) for seed in (0, 1)]
    expected = []
    for mode in (0, 1):
        squares = sum(np.linalg.svd(unfoldings(one)[mode], compute_uv=False) ** 2 for one in weights)
        lost = [1 - squares[:rank].sum() / squares.sum() for rank in range(len(squares) + 1)]
        expected.append(next(rank for rank, one in enumerate(lost) if one <= (1 - share) / 2 + 1e-9))
    found = tucker_spectrum(weights)
    assert found.energy(share) == tuple(expected)
    assert found.error(found.energy(share)) ** 2 <= 1 - share + 1e-9


def harmonic(n: int) -> float:
    return sum(1 / one for one in range(1, n + 1))


def test_what_stands_in_for_unknown_weights_falls_as_it_says() -> None:
    found, two = assumed(6), assumed_two(6, 4)
    for rank in range(7):
        assert found.error((rank,)) ** 2 == pytest.approx(1 - harmonic(rank) / harmonic(6), abs=1e-9)
    for out, inp in itertools.product(range(7), range(5)):
        kept = harmonic(out) * harmonic(inp) / (harmonic(6) * harmonic(4))
        assert two.error((out, inp)) ** 2 == pytest.approx(1 - kept, abs=1e-9)
    # H6 = 2.45, H4 = 2.083: half of 0.6 may go in each mode
    assert found.energy(0.4) == (1,) and found.energy(0.42) == (2,)
    assert two.energy(0.4) == (3, 2)


def noisy(values: list[float], shape: tuple[int, int], seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return planted(values, shape, seed) + 0.01 * torch.randn(*shape, generator=draw, dtype=torch.float64)


def test_ranks_above_the_noise_are_the_planted_ones_but_for_a_floor() -> None:
    assert matrix_spectrum([noisy([9, 8, 7, 6, 5], (16, 40))]).evbmf() == (5,)
    assert matrix_spectrum([noisy([9.0] * 5, (16, 40)), noisy([9.0] * 7, (16, 40))]).evbmf() == (7,)  # none loses
    assert matrix_spectrum([noisy([9.0], (32, 40))]).evbmf() == (4,)  # an eighth of 32
    weight = torch.einsum(
        "or,rsk,si->oik", noisy([9.0] * 6, (24, 6)), torch.randn(6, 3, 9).double(), planted([1.0] * 3, (3, 16))
    )
    weight = weight + 1e-3 * torch.randn(24, 16, 9, dtype=torch.float64)
    assert tucker_spectrum([weight.reshape(24, 16, 3, 3)]).evbmf() == (6, 3)


def test_triplets_hold_all_of_the_weight() -> None:
    weight = kernel(5, 4, 3, 3)
    found = triplet_spectrum([weight])
    squares = found.squares[0]
    assert squares.sum() == pytest.approx(float(weight.square().sum()))
    assert (np.diff(squares) <= 1e-12).all() and len(squares) == 4 * 9
    assert found.error((36,)) == pytest.approx(0, abs=1e-9)
    # One tap alone is a matrix, whose triplets are its singular values.
    one = torch.zeros(5, 4, 3, 3, dtype=torch.float64)
    one[:, :, 1, 2] = planted([4.0, 3.0, 2.0, 1.0], (5, 4))
    assert triplet_spectrum([one]).squares[0][:5] == pytest.approx([16, 9, 4, 1, 0], abs=1e-9)


@pytest.mark.parametrize("mode", range(3))
def test_a_train_that_loses_in_one_place_loses_what_that_unfolding_does(mode: int) -> None:
    weight = kernel(5, 4, 3, 2)
    tensor = weight.permute(1, 2, 3, 0).numpy()  # in, high, wide, out
    sizes = [4, 12, 24]
    values = [np.linalg.svd(tensor.reshape(n, -1), compute_uv=False) ** 2 for n in sizes]
    full = tuple(len(one) for one in values)
    found = train_spectrum([weight], (0, 1, 2))
    for rank in range(1, full[mode] + 1):
        ranks = tuple(rank if place == mode else most for place, most in enumerate(full))
        expected = (values[mode][rank:].sum() / values[mode].sum()) ** 0.5
        assert found.error(ranks) == pytest.approx(expected, abs=1e-6)
    ranks = found.energy(0.9)
    assert all(one[rank:].sum() <= 0.1 / 3 * one.sum() + 1e-9 for one, rank in zip(values, ranks, strict=True))
    assert all(one[rank - 1 :].sum() > 0.1 / 3 * one.sum() for one, rank in zip(values, ranks, strict=True))


def test_groups_lose_what_lies_outside_their_blocks() -> None:
    weight = torch.zeros(4, 4, 1, 1)
    weight[:2, :2], weight[2:, 2:] = 3.0, 3.0
    weight[0, 3] = 1.0  # 1 of 73
    found = group_errors(weight, (1, 2, 4))
    assert (found.error((1,)), found.error((2,))) == pytest.approx((0, (1 / 73) ** 0.5))
    assert found.error((4,)) == pytest.approx((37 / 73) ** 0.5)  # one of each two by two block's rows keeps a half
    assert found.energy(0.99) == (1,) and found.energy(0.98) == (2,) and found.energy(0.4) == (4,)
    assert found.evbmf() == (1,)


KINDS: list[Callable[[Tensor], Spectrum]] = [
    lambda weight: matrix_spectrum([weight.flatten(1)]),
    lambda weight: tucker_spectrum([weight]),
    lambda weight: triplet_spectrum([weight]),
    lambda weight: train_spectrum([weight], (0, 1, 2)),
]


@settings(max_examples=25, deadline=None)
@given(
    share=st.floats(0.01, 1.0), seed=st.integers(0, 5), kind=st.integers(0, 3), scale=st.sampled_from([1e-4, 1.0, 1e4])
)
def test_energy_is_kept_and_the_size_of_weights_does_not_matter(
    share: float, seed: int, kind: int, scale: float
) -> None:
    weight = kernel(6, 4, 3, 3, seed=seed)
    found, scaled = KINDS[kind](weight), KINDS[kind](scale * weight)
    ranks = found.energy(share)
    assert found.error(ranks) ** 2 <= 1 - share + 1e-6
    assert scaled.energy(share) == ranks and scaled.error(ranks) == pytest.approx(found.error(ranks), abs=1e-6)


def test_dependent_regressors_have_an_answer_of_ordinary_size() -> None:
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        thin = torch.randn(8, 3, generator=draw) * 10.0 ** (seed % 5 - 2)
        normal, right = thin @ thin.T, thin @ torch.randn(3, 2, generator=draw)
        least = torch.linalg.pinv(normal.double(), hermitian=True, rtol=1e-5) @ right.double()
        found = solve(normal, right).double()
        assert float(found.norm()) < 10 * float(least.norm())
        assert float((normal.double() @ found - right).norm()) < 1e-2 * float(right.norm())


def test_the_error_of_outputs_is_that_of_the_outputs() -> None:
    draw = torch.Generator().manual_seed(0)
    weight, other = torch.randn(3, 5, generator=draw), torch.randn(3, 5, generator=draw)
    inputs = torch.randn(1000, 5, generator=draw) * torch.arange(1, 6)
    moment = (inputs.T @ inputs / 1000).double()
    expected = float((inputs @ (weight - other).T).norm() / (inputs @ weight.T).norm())
    assert output_error(weight.double(), other.double(), moment) == pytest.approx(expected, rel=1e-5)
    assert output_error(weight.double(), weight.double(), moment) == 0
    assert output_error(torch.zeros(3, 5), torch.zeros(3, 5), moment) == 0  # nothing is lost of nothing
