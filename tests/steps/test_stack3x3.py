"""`Stack3x3`: larger kernels as stacks of small ones."""

from __future__ import annotations

import pytest
import torch
from factorizing import actions, applied, images, relative_output_error, small_net
from torch import nn

import workbench as wb


@pytest.mark.parametrize(("size", "links"), [(5, 2), (7, 3)])
def test_the_chain_keeps_borders_stride_and_bias(size: int, links: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, size, stride=2, padding=size // 2)).eval()
    x = torch.randn(60, 4, 14, 14)
    new, _ = applied(wb.Stack3x3(allow_growth=True), net, x)
    parts = list(new[0])
    assert [part.kernel_size for part in parts] == [(3, 3)] * links
    assert [part.stride for part in parts] == [(1, 1)] * (links - 1) + [(2, 2)]
    assert [part.padding for part in parts] == [(size // 2, size // 2)] + [(0, 0)] * (links - 1)
    assert new(x).shape == net(x).shape


def test_fitted_to_the_responses() -> None:
    """Inputs without high frequencies: what the stack cannot do hardly shows in the outputs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2)).eval()
    x = torch.randn(60, 4, 14, 14).cumsum(2).cumsum(3) / 5
    plain, _ = applied(wb.Stack3x3(), net, x)
    aware, _ = applied(wb.Stack3x3(), net, x, aware=True)
    assert relative_output_error(net, aware, x) < 0.7 * relative_output_error(net, plain, x)


def test_a_kernel_that_is_a_stack_is_found_again_at_the_borders_too() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 3, 3, padding=2, bias=False), nn.Conv2d(3, 3, 3, bias=False)
    large = nn.Conv2d(3, 3, 5, padding=2, bias=False)
    with torch.no_grad():
        taps = second.weight.new_zeros(3, 3, 5, 5)
        for y in range(3):
            for x in range(3):
                part = torch.einsum("om,mihw->oihw", second.weight[:, :, y, x], first.weight)
                taps[:, :, y : y + 3, x : x + 3] += part
        large.weight.copy_(taps)
    inputs = torch.randn(4, 3, 9, 9)
    new, _ = applied(wb.Stack3x3(6, allow_growth=True), nn.Sequential(large).eval(), inputs)
    assert relative_output_error(nn.Sequential(first, second), new, inputs) < 0.03


def test_only_larger_kernels() -> None:
    _, rows = applied(wb.Stack3x3(), small_net(), images())
    assert actions(rows)["3"] == "left alone: its kernel is 3x3, only 5x5 and 7x7 are stacks of 3x3"
    assert not any(row.applies for row in rows)
