"""`SVD` on linear layers and convolutions."""

from __future__ import annotations

import torch
from factorizing import actions, applied, convolutions, exact_at_full_rank, images, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb


@settings(max_examples=30, deadline=None)
@given(layer=convolutions(), aware=st.booleans())
def test_full_rank_is_exact(layer: nn.Conv2d, aware: bool) -> None:
    exact_at_full_rank(wb.SVD(1.0), layer, aware=aware)


@settings(max_examples=10, deadline=None)
@given(inputs=st.integers(1, 12), outputs=st.integers(1, 12), bias=st.booleans(), aware=st.booleans())
def test_full_rank_is_exact_on_linear_layers(inputs: int, outputs: int, bias: bool, aware: bool) -> None:
    exact_at_full_rank(wb.SVD(1.0), nn.Linear(inputs, outputs, bias=bias), aware=aware)


def test_linear_layers_over_tokens() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)).eval()
    x = torch.randn(8, 5, 16)
    new, rows = applied(wb.SVD(4), net, x, aware=True)
    assert actions(rows) == {"0": "rank 4", "2": "rank 4"}
    assert new(x).shape == (8, 5, 16)


def test_a_depthwise_layer_has_nothing_to_factorize() -> None:
    _, rows = applied(wb.SVD(0.5), small_net(), images())
    assert actions(rows)["7"] == "left alone: depthwise: each group is of rank 1 already"
