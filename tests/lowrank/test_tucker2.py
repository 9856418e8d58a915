"""Tucker-2 against TensorLy, at full rank, and from its cached basis."""

from __future__ import annotations

import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker

from workbench.errors import BadValue
from workbench.lowrank import basis, tucker2
from workbench.lowrank.tucker import full_rank


def kernel(out: int, inp: int, size: int = 3, seed: int = 0) -> torch.Tensor:
    """A kernel whose unfoldings have falling spectra, as trained ones do."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(out, inp, size, size, generator=generator)
    for mode, channels in ((0, out), (1, inp)):
        turn = torch.linalg.qr(torch.randn(channels, channels, generator=generator))[0]
        fall = turn * torch.arange(1, channels + 1) ** -0.4
        weight = torch.tensordot(weight, fall, dims=([mode], [1])).movedim(-1, mode)
    return weight


def error(weight: torch.Tensor, approximation: torch.Tensor) -> float:
    return float((weight - approximation).norm() / weight.norm())


@pytest.mark.parametrize("shape", [(24, 16), (16, 24), (12, 12)])
def test_error_is_that_of_tensorly(shape: tuple[int, int]) -> None:
    weight = kernel(*shape)
    rank = (shape[0] // 2, shape[1] // 2)
    with tensorly.backend_context("pytorch"):
        (core, factors), _ = partial_tucker(weight, rank=list(rank), modes=[0, 1], init="svd", n_iter_max=100)
        theirs = error(weight, tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1]))
    assert error(weight, tucker2(weight, rank).to_tensor()) <= 1.001 * theirs


@settings(max_examples=25, deadline=None)
@given(out=st.integers(1, 9), inp=st.integers(1, 9), size=st.integers(1, 3), seed=st.integers(0, 9))
def test_full_rank_is_exact(out: int, inp: int, size: int, seed: int) -> None:
    weight = torch.randn(out, inp, size, size, generator=torch.Generator().manual_seed(seed))
    rank = full_rank(out, inp, size * size)
    assert error(weight, tucker2(weight, rank).to_tensor()) < 1e-5


def test_a_slice_of_the_basis_has_the_error_that_it_says() -> None:
    weight = kernel(10, 14)
    found = basis(weight)
    for rank in ((3, 4), (10, 2), (1, 14), (10, 14)):
        with tensorly.backend_context("pytorch"):
            whole = tensorly.tucker_to_tensor(found.slice(rank))
        assert error(weight, whole) == pytest.approx(found.error(rank), abs=1e-5)


def test_a_slice_shares_its_memory_with_the_basis() -> None:
    found = basis(kernel(8, 8))
    assert found.slice((3, 2)).core.untyped_storage().data_ptr() == found.core.untyped_storage().data_ptr()


def test_sweeps_improve_on_the_slice() -> None:
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    found = basis(weight)
    swept = tucker2(weight, (6, 6), start=found)
    assert error(weight, swept.to_tensor()) < 0.995 * found.error((6, 6))


def test_factors_are_orthonormal() -> None:
    found = tucker2(kernel(12, 10), (5, 4))
    for factor in found.factors:
        assert torch.allclose(factor.T @ factor, torch.eye(factor.shape[1]), atol=1e-5)


def test_a_moment_lowers_the_error_of_the_outputs() -> None:
    weight = torch.randn(12, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    mix = torch.randn(72, 72, generator=torch.Generator().manual_seed(2)) * torch.arange(1, 73) ** -0.7
    inputs = torch.randn(4000, 72, generator=torch.Generator().manual_seed(3)) @ mix.T
    moment = (inputs.T @ inputs / 4000).double()
    outputs = inputs @ weight.flatten(1).T

    def output_error(approximation: torch.Tensor) -> float:
        return error(outputs, inputs @ approximation.flatten(1).T)

    plain, aware = tucker2(weight, (6, 4)), tucker2(weight, (6, 4), moment=moment)
    assert output_error(aware.to_tensor()) < 0.8 * output_error(plain.to_tensor())


@pytest.mark.parametrize("rank", [(0, 3), (3, 0), (9, 3), (3, 7), (2.0, 3), (True, 3), (3,)])
def test_ranks_outside_the_full_one_are_refused(rank: tuple[int, int]) -> None:
    with pytest.raises(BadValue, match="full rank \\(8, 6\\)"):
        tucker2(torch.ones(8, 6, 3, 3), rank)


def test_nan_is_refused() -> None:
    weight = torch.ones(4, 4, 3, 3)
    weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(BadValue, match="1 of 144 values NaN"):
        tucker2(weight, (2, 2))


def test_zeros_stay_zeros() -> None:
    found = tucker2(torch.zeros(6, 6, 3, 3), (2, 2))
    assert float(found.to_tensor().abs().max()) == 0


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 3, 2), (6, 5, 2, 2, 3)])
def test_kernels_of_one_two_and_three_axes_are_taken_and_their_taps_kept(shape: tuple[int, ...]) -> None:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    found = tucker2(weight, (5, 4))
    assert found.core.shape == (5, 4, *shape[2:])
    turned = tucker2(weight.flatten(2), (5, 4))  # taps are only taps, however they lie
    assert torch.allclose(found.to_tensor().flatten(2), turned.to_tensor(), atol=1e-4)
    with tensorly.backend_context("pytorch"):
        assert error(weight, tensorly.tucker_to_tensor(basis(weight).slice((6, 5)))) < 1e-5


@pytest.mark.parametrize("shape", [(6,), (6, 5), (2, 2, 2, 2, 2, 2), (0, 3, 3)])
def test_other_tensors_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    for work in (lambda weight: tucker2(weight, (1, 1)), basis):
        with pytest.raises(BadValue, match="non-empty tensor of 3 or 4 or 5 dimensions") as caught:
            work(torch.ones(shape))
        assert str(shape) in str(caught.value)
