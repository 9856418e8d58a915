"""`Tucker` on every convolution."""

from __future__ import annotations

import pytest
import torch
from factorizing import actions, applied, convolutions, exact_at_full_rank, images, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.step import Context, Decision


@settings(max_examples=30, deadline=None)
@given(layer=convolutions(), aware=st.booleans())
def test_full_rank_is_exact(layer: nn.Conv2d, aware: bool) -> None:
    exact_at_full_rank(wb.Tucker(1.0), layer, aware=aware)


@settings(max_examples=10, deadline=None)
@given(stride=st.integers(1, 3), padding=st.integers(0, 2), dilation=st.integers(1, 2), groups=st.sampled_from([1, 2]))
def test_full_rank_is_exact_in_one_dimension(stride: int, padding: int, dilation: int, groups: int) -> None:
    layer = nn.Conv1d(4, 6, 3, stride, padding, dilation, groups)
    exact_at_full_rank(wb.Tucker(1.0), layer, aware=False)


def test_three_layers_and_their_shapes() -> None:
    net, x = small_net(), images(1)
    first, core, last = wb.Tucker((5, 4), layers="3").apply(net, Context(example=x))[3]
    assert [tuple(part.weight.shape) for part in (first, core, last)] == [(4, 12, 1, 1), (5, 4, 3, 3), (16, 5, 1, 1)]
    assert (first.stride, core.stride, core.padding, last.stride) == ((1, 1), (2, 2), (1, 1), (1, 1))
    assert first.bias is None and core.bias is None and last.bias is not None


def test_a_side_at_full_rank_is_not_projected() -> None:
    new, _ = applied(wb.Tucker((5, 12), layers="3"), small_net(), images())
    assert [tuple(part.weight.shape[:2]) for part in new[3]] == [(5, 12), (16, 5)]


def test_what_it_cannot_treat() -> None:
    _, rows = applied(wb.Tucker(0.5), small_net(), images())
    found = actions(rows)
    assert found["7"].startswith("left alone: depthwise")
    assert found["8"] == "left alone: a 1x1 convolution has no taps, use SVD"
    assert found["12"] == "left alone: a linear layer has no taps, use SVD"


def test_weights_keep_their_type() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3)).double().eval()
    x = torch.zeros(1, 8, 6, 6, dtype=torch.float64)
    assert {p.dtype for p in wb.Tucker(4).apply(net, Context(example=x)).parameters()} == {torch.float64}


@pytest.mark.parametrize("family", [wb.Tucker, wb.CP, wb.Separable, wb.SpatialSVD, wb.TensorTrain, wb.SVD])
def test_a_convolution_of_one_channel_in_one_group_is_not_depthwise(family: type[wb.steps.Step]) -> None:
    """The stem of a network for grey images: nothing in its shape rules it out."""
    plan = family().plan(wb.load(nn.Sequential(nn.Conv2d(1, 8, 3)).eval(), example=torch.zeros(1, 1, 9, 9)))
    assert plan.rows[0].decision is not Decision.UNFIT
