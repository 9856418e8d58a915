"""`Grouped`: channel groups, and the order of channels around them."""

from __future__ import annotations

from pathlib import Path

import torch
from factorizing import actions, applied, convolutions, exact_at_full_rank, images, relative_output_error, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.models.structure import restore, save_variant
from workbench.step import Context


@settings(max_examples=20, deadline=None)
@given(layer=convolutions(grouped=False), aware=st.booleans())
def test_one_group_is_exact(layer: nn.Conv2d, aware: bool) -> None:
    exact_at_full_rank(wb.Grouped(1), layer, aware=aware)


def test_hidden_groups_are_exact() -> None:
    torch.manual_seed(0)
    rows, columns = torch.randperm(12), torch.randperm(8)
    dense = nn.Conv2d(8, 12, 3, padding=1)
    with torch.no_grad():
        dense.weight[rows[:6][:, None], columns[:4]] = 0
        dense.weight[rows[6:][:, None], columns[4:]] = 0
    net, x = nn.Sequential(dense).eval(), torch.randn(4, 8, 9, 9)
    new, _ = applied(wb.Grouped(2), net, x)
    assert relative_output_error(net, new, x) < 1e-5


def test_groups_that_do_not_divide_fall_to_those_that_do() -> None:
    _, rows = applied(wb.Grouped(5), small_net(), images())
    assert actions(rows)["3"] == "4 groups"  # of 12 and 16 channels
    assert actions(rows)["5"] == "left alone: it has 2 groups already"


def test_a_variant_with_reordered_channels_is_stored_as_data(tmp_path: Path) -> None:
    model, x = wb.load(small_net(), example=images(1)), images()
    new = wb.Grouped(4, layers="3").apply(model.module, Context(example=x[:1]))
    save_variant(new, model, tmp_path / "v.safetensors")
    assert torch.equal(restore(tmp_path / "v.safetensors").eval()(x), new.eval()(x))
