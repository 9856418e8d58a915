"""`SpatialSVD` on every two-dimensional kernel, depthwise ones too."""

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
    exact_at_full_rank(wb.SpatialSVD(1.0), layer, aware=aware)


def test_two_directions() -> None:
    new, _ = applied(wb.SpatialSVD(6, layers="3"), small_net(), images())
    vertical, horizontal = new[3]
    assert (vertical.kernel_size, vertical.stride, vertical.padding) == ((3, 1), (2, 1), (1, 0))
    assert (horizontal.kernel_size, horizontal.stride, horizontal.padding) == ((1, 3), (1, 2), (0, 1))


def test_depthwise_layers_split_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(6, 6, 5, padding=2, groups=6)).eval()
    x = torch.randn(40, 6, 10, 10)
    new, rows = applied(wb.SpatialSVD(1), net, x, aware=True)
    assert actions(rows) == {"0": "rank 1"}
    assert [part.groups for part in new[0]] == [6, 6]
