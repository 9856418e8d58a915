"""SVD and spatial SVD: optimal, exact at full rank, better on the outputs with a moment."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import BadValue
from workbench.lowrank import spatial, svd
from workbench.lowrank.matrices import two_layers
from workbench.lowrank.moments import output_error


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_svd_is_the_best_approximation() -> None:
    matrix = noise(9, 14)
    values = torch.linalg.svdvals(matrix)
    residual = (matrix - svd(matrix, 4).matrix()).norm()
    assert float(residual) == pytest.approx(float(values[4:].norm()), rel=1e-4)


def test_another_rank_is_a_slice() -> None:
    matrix = noise(9, 14)
    assert torch.allclose(svd(matrix).slice(3).matrix(), svd(matrix, 3).matrix(), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(m=st.integers(1, 12), n=st.integers(1, 12), aware=st.booleans())
def test_two_layers_are_exact_at_full_rank(m: int, n: int, aware: bool) -> None:
    matrix, inputs = noise(m, n), noise(50, n, seed=1).double()
    first, second = two_layers(matrix, min(m, n), inputs.T @ inputs / 50 if aware else None)
    assert torch.allclose(second @ first, matrix, atol=1e-4)


def test_with_a_moment_the_outputs_are_optimal() -> None:
    """The error is that of the outputs' own principal components: nothing of this rank does better."""
    matrix, inputs = noise(10, 16).double(), (noise(500, 16, seed=1) * torch.arange(1, 17) ** -1.0).double()
    moment = inputs.T @ inputs / 500
    first, second = two_layers(matrix, 4, moment)
    values = torch.linalg.svdvals(inputs @ matrix.T)
    best = float(values[4:].norm() / values.norm())
    assert output_error(matrix, second @ first, moment) == pytest.approx(best, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(out=st.integers(1, 6), inp=st.integers(1, 6), high=st.integers(2, 4), wide=st.integers(2, 4))
def test_spatial_is_exact_at_full_rank(out: int, inp: int, high: int, wide: int) -> None:
    weight = noise(out, inp, high, wide)
    found = spatial(weight, min(inp * high, out * wide))
    assert torch.allclose(found.weight(), weight, atol=1e-4)


def test_spatial_with_a_moment_lowers_the_error_of_the_outputs() -> None:
    weight = noise(10, 8, 3, 3)
    inputs = noise(3000, 72, seed=1).double() @ (noise(72, 72, seed=2) * torch.arange(1, 73) ** -0.7).T.double()
    moment = inputs.T @ inputs / 3000
    plain, aware = spatial(weight, 6), spatial(weight, 6, moment)
    flat = weight.flatten(1).double()
    errors = [output_error(flat, found.weight().flatten(1).double(), moment) for found in (plain, aware)]
    assert errors[1] < 0.8 * errors[0]


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadValue, match="full rank 3"):
        svd(torch.ones(3, 5), 4)
    with pytest.raises(BadValue, match="2 dimensions"):
        svd(torch.ones(3, 5, 2), 2)
    with pytest.raises(BadValue, match="full rank 9"):
        spatial(torch.ones(4, 3, 3, 3), 0)


def test_a_layer_of_many_outputs_is_as_good_and_forms_no_covariance_of_them() -> None:
    """The optimum's error is what the eigenvalues left out say; 30,000 outputs squared would be 7 GB."""
    few, inputs = noise(300, 12), noise(80, 12, seed=1).double() @ torch.diag(torch.linspace(0.1, 3, 12).double())
    moment = inputs.T @ inputs / 80
    first, second = two_layers(few, 5, moment)
    values = torch.linalg.eigvalsh(few.double() @ moment @ few.double().T)
    left = float(values[:-5].sum() / values.sum())
    assert output_error(few, second @ first, moment) ** 2 == pytest.approx(left, rel=1e-4)
    many = noise(30_000, 12, seed=2)
    first, second = two_layers(many, 11, moment)
    assert second.shape == (30_000, 11) and output_error(many, second @ first, moment) < 0.2
    singular = noise(40, 3).double() @ noise(3, 12, seed=4).double()  # inputs that lie in three directions
    moment = singular.T @ singular / 40
    first, second = two_layers(few, 6, moment)
    assert output_error(few, second @ first, moment) < 1e-6
