"""Separable, grouped and stacked filters."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from workbench.errors import BadValue
from workbench.lowrank import grouped, separable, stack3
from workbench.lowrank.filters import assign, compose
from workbench.lowrank.moments import output_error


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(dimension: int) -> torch.Tensor:
    inputs = (
        noise(3000, dimension, seed=1)
        @ (noise(dimension, dimension, seed=2) * torch.arange(1, dimension + 1) ** -0.7).T
    )
    return (inputs.T @ inputs / 3000).double()


@settings(max_examples=20, deadline=None)
@given(out=st.integers(1, 12), inp=st.integers(1, 5), size=st.integers(1, 3))
def test_separable_is_exact_at_full_terms(out: int, inp: int, size: int) -> None:
    weight = noise(out, inp, size, size)
    found = separable(weight, min(out, size * size))
    assert torch.allclose(found.weight(), weight, atol=1e-4)


def test_separable_fits_the_outputs() -> None:
    weight, moment = noise(10, 8, 3, 3), correlated(72)
    errors = [
        output_error(weight.flatten(1).double(), found.weight().flatten(1).double(), moment)
        for found in (separable(weight, 2), separable(weight, 2, moment=moment))
    ]
    assert errors[1] < 0.7 * errors[0]


def test_hidden_groups_are_found() -> None:
    weight = torch.zeros(12, 8, 3, 3)
    rows, columns = (
        torch.randperm(12, generator=torch.Generator().manual_seed(3)),
        torch.tensor([5, 2, 7, 0, 1, 6, 3, 4]),
    )
    for group in range(4):
        block = noise(3, 2, 3, 3, seed=group)
        weight[rows[group * 3 : group * 3 + 3][:, None], columns[group * 2 : group * 2 + 2]] = block
    assert torch.allclose(grouped(weight, 4).weight(), weight)


def test_assignment_is_near_the_best_one() -> None:
    energy = noise(4, 4).square().double()
    rows, columns = assign(energy, 2)
    kept = float((energy * (rows[:, None] == columns)).sum())
    halves = [torch.tensor(p) for p in set(itertools.permutations([0, 0, 1, 1]))]
    best = max(float((energy * (r[:, None] == c)).sum()) for r in halves for c in halves)
    assert rows.bincount().tolist() == columns.bincount().tolist() == [2, 2]
    assert kept >= 0.9 * best


def test_refitted_blocks_lower_the_error_of_the_outputs() -> None:
    weight, moment = noise(8, 8, 3, 3), correlated(72)
    errors = [
        output_error(weight.flatten(1).double(), found.weight().flatten(1).double(), moment)
        for found in (grouped(weight, 2), grouped(weight, 2, moment=moment))
    ]
    assert errors[1] < 0.8 * errors[0]


def test_groups_must_divide_the_channels() -> None:
    with pytest.raises(BadValue, match="must divide 12 outputs and 8 inputs"):
        grouped(noise(12, 8, 3, 3), 3)


def test_composed_kernels_answer_like_the_chain() -> None:
    kernels = [noise(5, 4, 3, 3).double(), noise(6, 5, 3, 3, seed=1).double()]
    x = noise(1, 4, 11, 9, seed=2).double()
    chained = functional.conv2d(functional.conv2d(x, kernels[0]), kernels[1])
    assert torch.allclose(functional.conv2d(x, compose(kernels)), chained)


@pytest.mark.parametrize("size", [5, 7])
def test_a_kernel_that_is_a_stack_is_found_again(size: int) -> None:
    count = (size - 1) // 2
    weight = compose([noise(2, 2, 3, 3, seed=s) for s in range(count)])
    found = compose(stack3(weight, 4))
    assert float((found - weight).norm() / weight.norm()) < (0.02 if size == 5 else 0.15)


def test_only_larger_square_kernels_are_stacks() -> None:
    with pytest.raises(BadValue, match="got 3 x 3"):
        stack3(noise(4, 4, 3, 3), 4)
