"""`Separable`: depthwise filters and a 1 x 1."""

from __future__ import annotations

from factorizing import actions, applied, convolutions, exact_at_full_rank, images, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb


@settings(max_examples=30, deadline=None)
@given(layer=convolutions(), aware=st.booleans())
def test_full_terms_are_exact(layer: nn.Conv2d, aware: bool) -> None:
    exact_at_full_rank(wb.Separable(1.0), layer, aware=aware)


def test_full_terms_are_exact_in_one_dimension() -> None:
    exact_at_full_rank(wb.Separable(5), nn.Conv1d(4, 6, 5, stride=2, padding=2), aware=False)


def test_two_layers() -> None:
    new, rows = applied(wb.Separable(2), small_net(), images(), aware=True)
    depthwise, pointwise = new[3]
    assert (depthwise.groups, depthwise.out_channels, depthwise.stride) == (12, 24, (2, 2))
    assert pointwise.kernel_size == (1, 1) and pointwise.bias is not None
    assert actions(rows)["7"] == "left alone: it is depthwise already"
