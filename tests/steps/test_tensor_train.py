"""`TensorTrain`: exact at full rank, a chain of ordinary layers, its factors those of TensorLy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from factorizing import (
    actions,
    applied,
    convolutions,
    exact_at_full_rank,
    images,
    inputs_for,
    relative_output_error,
    small_net,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.cost.weights import Weights


@settings(max_examples=40, deadline=None)
@given(layer=convolutions(), aware=st.booleans())
def test_full_rank_is_exact(layer: nn.Conv2d, aware: bool) -> None:
    exact_at_full_rank(wb.TensorTrain(1.0), layer, aware=aware)


@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(7, 5), nn.Linear(5, 7, bias=False), nn.Conv2d(6, 9, 1, stride=2, padding=1),
        nn.Conv1d(6, 8, 3, stride=2, padding=1, dilation=2, groups=2), nn.Conv2d(4, 6, (3, 1), stride=(1, 2)),
        nn.Conv2d(4, 6, (1, 5), padding=(1, 2)), nn.Conv2d(4, 8, 3, groups=4),
    ],
    ids=str,
)  # fmt: skip
def test_full_rank_is_exact_for_every_kind_of_kernel(layer: nn.Module, aware: bool) -> None:
    torch.manual_seed(0)
    exact_at_full_rank(wb.TensorTrain(1.0), layer, aware=aware)


def kernel_of_ranks(ranks: tuple[int, int, int]) -> torch.Tensor:
    """(8, 6, 3, 3), written down as a train of these ranks."""
    torch.manual_seed(3)
    cores = [torch.randn(a, n, b) for (a, b), n in zip(itertools.pairwise((1, *ranks, 1)), (6, 3, 3, 8), strict=True)]
    return torch.einsum("aib,bhc,cwd,doe->oihw", *cores)


def test_a_layer_of_these_ranks_is_exact_at_them() -> None:
    layer = nn.Conv2d(6, 8, 3, stride=2, padding=1)
    layer.weight.data = kernel_of_ranks((2, 4, 3))
    x = inputs_for(layer)
    new, rows = applied(wb.TensorTrain((2, 4, 3), data_aware=False), nn.Sequential(layer), x)
    assert actions(rows) == {"0": "ranks 2, 4, 3"}
    assert relative_output_error(nn.Sequential(layer), new, x) < 1e-5
    spectrum = wb.TensorTrain(0.5).known(trace(nn.Sequential(layer), x[:1]).layers[0], Weights(nn.Sequential(layer)))
    assert spectrum.energy(0.9999) == (2, 4, 3)


def test_the_links() -> None:
    """Every link has channels of its own; stride, padding and dilation go with the taps, the bias comes last."""
    new, _ = applied(wb.TensorTrain((6, 10, 7), layers="3"), small_net(), images())
    first, high, wide, last = new[3]
    assert [one.kernel_size for one in (first, high, wide, last)] == [(1, 1), (3, 1), (1, 3), (1, 1)]
    assert [one.out_channels for one in (first, high, wide, last)] == [6, 10, 7, 16]
    assert [one.stride for one in (first, high, wide, last)] == [(1, 1), (2, 1), (1, 2), (1, 1)]
    assert [one.bias is not None for one in (first, high, wide, last)] == [False, False, False, True]


def test_inputs_that_all_stay_need_no_link() -> None:
    new, _ = applied(wb.TensorTrain((3, 5, 6), layers="0"), small_net(), images())
    assert [one.kernel_size for one in new[0]] == [(3, 1), (1, 3), (1, 1)]


def test_a_rule_leaves_a_stem_all_its_inputs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 64, 5))
    network = trace(net, torch.zeros(1, 3, 9, 9))
    for rule in (0.3, "energy:0.5", "evbmf"):
        step = wb.TensorTrain(rule)
        assert step.ranks(step.rule, network.layers[0], Weights(net))[0] == 3


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), share=st.sampled_from([0.2, 0.4, 0.6, 0.8]))
def test_the_error_foreseen_lies_where_the_true_one_must(seed: int, share: float) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(6, 8, 3, bias=False))
    step = wb.TensorTrain(share, data_aware=False, allow_growth=True)
    network, weights = trace(net, torch.zeros(1, 6, 9, 9)), Weights(net)
    layer = network.layers[0]
    ranks = step.ranks(step.rule, layer, weights)
    cores = step.factors(layer, net[0].weight.detach(), ranks, None)
    a, b, c, d = (core.numpy() for core in cores)
    rebuilt = np.einsum("ai,bah,cbw,oc->oihw", a, b, c, d)
    exact = net[0].weight.detach().numpy()
    error = np.linalg.norm(exact - rebuilt) / np.linalg.norm(exact)
    train = exact.transpose(1, 2, 3, 0)
    lost = []
    for mode, rank in enumerate(ranks, start=1):
        values = np.linalg.svd(train.reshape(int(np.prod(train.shape[:mode])), -1), compute_uv=False)
        lost.append(float((values[rank:] ** 2).sum() / (values**2).sum()))
    for one in (error, step.known(layer, weights).error(ranks)):
        assert max(lost) ** 0.5 - 1e-3 <= one <= sum(lost) ** 0.5 + 1e-3


def test_a_linear_layer_becomes_what_svd_makes_of_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 9)).eval()
    x = inputs_for(net[0])
    train, _ = applied(wb.TensorTrain(4, data_aware=False), net, x)
    svd, _ = applied(wb.SVD(4, data_aware=False), net, x)
    with torch.no_grad():
        assert torch.allclose(train(x), svd(x), atol=1e-5)


def test_a_fit_to_calibration_images_lowers_the_error_of_the_outputs() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)).eval()
    mix = torch.randn(8, 8) * torch.arange(1, 9) ** -1.0
    x = torch.einsum("nihw,io->nohw", torch.randn(64, 8, 8, 8), mix)
    plain, _ = applied(wb.TensorTrain((3, 5, 4), data_aware=False), net, x)
    aware, _ = applied(wb.TensorTrain((3, 5, 4)), net, x, aware=True)
    assert relative_output_error(net, aware, x) < 0.9 * relative_output_error(net, plain, x)


@pytest.mark.parametrize("budget", ["macs:0.5", "params:0.4"])
def test_a_budget_is_kept_and_used(budget: str) -> None:
    net = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))).eval()
    network = trace(net, torch.zeros(1, 16, 8, 8))
    plan = wb.TensorTrain(budget).plan_on(network, Weights(net))
    cost, _, share = budget.partition(":")
    reached = getattr(plan.network.totals, cost) / getattr(network.totals, cost)
    assert 0.9 * float(share) < reached <= float(share)


@settings(max_examples=60, deadline=None)
@given(layer=convolutions(), ranks=st.tuples(*[st.integers(1, 40)] * 3))
def test_limited_ranks_are_those_of_a_train(layer: nn.Conv2d, ranks: tuple[int, int, int]) -> None:
    """NumPy's ranks of the unfoldings of a train written down at the limited ranks are these ranks."""
    op = trace(nn.Sequential(layer), inputs_for(layer)[:1]).layers[0]
    a, b, c = wb.TensorTrain(1.0).limit(op, ranks)
    (high, wide), out, inputs = layer.kernel_size, layer.out_channels // layer.groups, layer.in_channels // layer.groups
    rng = np.random.default_rng(0)
    sizes = [(1, inputs, a), (a, high, b), (b, wide, c), (c, out, 1)]
    tensor = np.einsum("aib,bhc,cwd,doe->ihwo", *(rng.normal(size=size) for size in sizes))
    found = [np.linalg.matrix_rank(tensor.reshape(int(np.prod(tensor.shape[:m])), -1)) for m in (1, 2, 3)]
    assert found == [a, b, c]
