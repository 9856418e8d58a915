"""Magnitude pruning against a hand computation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.errors import BadValue
from workbench.jobs import Reporter
from workbench.step import Context

EXAMPLE = torch.zeros(1, 4)


def two_layers() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 2, bias=False))
    net[0].weight.data = torch.tensor([[0.1, -0.2, 3.0, 4.0]])
    net[1].weight.data = torch.tensor([[-0.3], [0.4]])
    return net


def test_one_threshold_over_all_layers() -> None:
    pruned = wb.Prune(ratio=0.5).apply(two_layers(), Context(EXAMPLE))
    assert pruned[0].weight.tolist() == [[0.0, 0.0, 3.0, 4.0]]
    assert pruned[1].weight.flatten().tolist() == pytest.approx([0.0, 0.4])


def test_the_same_share_in_every_layer() -> None:
    pruned = wb.Prune(ratio=0.5, scope="layer").apply(two_layers(), Context(EXAMPLE))
    assert [(layer.weight == 0).sum().item() for layer in pruned] == [2, 1]


def test_only_the_chosen_layers_and_never_the_input() -> None:
    net = two_layers()
    pruned = wb.Prune(ratio=0.5, layers="0").apply(net, Context(EXAMPLE))
    assert torch.equal(pruned[1].weight, net[1].weight)
    assert torch.equal(net[0].weight, two_layers()[0].weight)


@given(ratio=st.floats(0, 0.99), seed=st.integers(0, 1000), ties=st.booleans())
def test_exactly_the_share_becomes_zero_and_the_largest_stay(ratio: float, seed: int, ties: bool) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(7, 5, bias=False))
    weight = torch.randn(5, 7)
    net[0].weight.data = weight.sign() if ties else weight
    pruned = wb.Prune(ratio=ratio).apply(net, Context(torch.zeros(1, 7)))[0].weight
    assert (pruned == 0).sum() == round(ratio * 35)
    if (pruned == 0).any() and (pruned != 0).any():
        assert net[0].weight[pruned == 0].abs().max() <= pruned[pruned != 0].abs().min()


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 50, float("nan"), "0.5", True])
def test_ratios_that_make_no_sense(ratio: object) -> None:
    with pytest.raises(BadValue, match="ratio"):
        wb.Prune(ratio=ratio)  # type: ignore[arg-type]  # the mistake under test


def test_patterns_of_a_transposed_convolution_run_along_its_inputs() -> None:
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(8, 6, 2, groups=2)
    wanted = layer.weight.detach().clone()  # (in, out / groups, 2, 2)
    for start in (0, 4):
        part = wanted[start : start + 4]
        part[part.abs() < part.abs().sort(0).values[2]] = 0.0  # the two smallest of four inputs
    new = wb.PruneNM(2, 4).apply(torch.nn.Sequential(layer), Context(torch.zeros(1, 8, 4, 4)))
    assert torch.equal(new[0].weight, wanted)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_it_says_that_zeros_make_nothing_faster_where_there_are_any(ratio: float) -> None:
    progress = Reporter()
    pruned = wb.Prune(ratio).apply(two_layers(), Context(EXAMPLE, progress=progress))
    assert any((layer.weight == 0).any() for layer in pruned) == bool(ratio) == bool(progress.notes)
