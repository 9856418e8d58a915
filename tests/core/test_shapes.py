"""Shapes that are known without torch are those that torch computes; its compiler stays unimported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from workbench.cost.report import cost
from workbench.cost.shapes import known
from workbench.errors import BadValue

aten = torch.ops.aten


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
)
def test_convolutions(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int, dilation: int, groups: int
) -> None:
    x, weight = torch.zeros(1, 4, *size), torch.zeros(6, 4 // groups, *kernel)
    how = ([stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], groups)
    found = known(aten.convolution, (x.to("meta"), weight.to("meta"), None, *how))
    try:
        expected = aten.convolution(x, weight, None, *how).shape
    except RuntimeError:  # the kernel is larger than what it slides over
        assert found is None
    else:
        assert (found is None and 0 in expected) or found.shape == expected


@pytest.mark.parametrize(("kernel", "stride", "padding"), [((2, 2), (), (0, 0)), ((3, 2), (2, 1), (1, 0))])
def test_largest_of_windows(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
    x = torch.zeros(2, 3, 7, 9)
    expected = aten.max_pool2d_with_indices(x, kernel, stride, padding)
    found = known(aten.max_pool2d_with_indices, (x.to("meta"), list(kernel), list(stride), list(padding)))
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in expected]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dims", [[2, 3], [-1, -2], [1]])
def test_means(dims: list[int], keep: bool) -> None:
    x = torch.zeros(2, 3, 4, 5)
    assert known(aten.mean, (x.to("meta"), dims, keep)).shape == x.mean(dims, keep).shape


def test_products_and_what_keeps_a_shape() -> None:
    x, weight = torch.zeros(3, 4, device="meta"), torch.zeros(4, 5, device="meta")
    assert known(aten.addmm, (torch.zeros(5, device="meta"), x, weight)).shape == (3, 5)
    assert known(aten.relu, (x.t(),)).stride() == x.t().stride()
    assert known(aten.relu_, (x,)) is x
    assert known(aten.add, (x, x)).shape == x.shape


def test_what_is_spread_or_rounded_or_new_is_left_to_torch() -> None:
    x = torch.zeros(3, 4, device="meta")
    assert known(aten.add, (x, torch.zeros(4, device="meta"))) is None
    assert known(aten.add, (x, x.double())) is None
    assert known(aten.relu, (x.long(),)) is None
    assert known(aten.mean, (x,)) is None
    assert known(aten.cumsum, (x, 0)) is None


def test_a_wrong_number_of_channels_is_left_to_torch_which_says_so() -> None:
    x, weight = torch.zeros(1, 3, 8, 8, device="meta"), nn.Conv2d(4, 8, 3).weight.to("meta")
    assert known(aten.convolution, (x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)) is None


def test_a_norm_keeps_the_shape_where_its_numbers_fit_the_channels() -> None:
    x, four, three = (torch.zeros(*shape, device="meta") for shape in ((2, 4, 3, 3), (4,), (3,)))
    found = known(aten.native_batch_norm, (x, four, four, four, four, False, 0.1, 1e-5))
    assert [tuple(one.shape) for one in found] == [(2, 4, 3, 3), (0,), (0,)]
    for place in range(4):  # weight, bias, mean, variance
        tensors = [three if place == one else four for one in range(4)]
        assert known(aten.native_batch_norm, (x, *tensors, False, 0.1, 1e-5)) is None
    bare = known(aten.native_batch_norm, (x, None, None, four, four, False, 0.1, 1e-5))
    assert tuple(bare[0].shape) == (2, 4, 3, 3)


def test_products_that_do_not_fit_and_windows_of_other_kinds_are_left_to_torch() -> None:
    x, weight, bias = (torch.zeros(*shape, device="meta") for shape in ((3, 4), (5, 6), (6,)))
    assert known(aten.addmm, (bias, x, weight)) is None
    image = torch.zeros(1, 2, 5, 5, device="meta")
    for how in (([2, 2], [2, 2], (0, 0), (1, 1), True), ([2], [2], [0], [1]), ([7, 7],)):
        assert known(aten.max_pool2d_with_indices, (image, *how)) is None
    assert known(aten.max_pool2d_with_indices, (image[0], [2, 2])) is None  # without a batch
    kernel = torch.zeros(2, 2, 3, 3, device="meta")
    assert known(aten.convolution, (image, kernel, None, [1, 1], [0, 0], [1, 1], True, [0, 0], 1)) is None
    assert known(aten.convolution, (image, kernel[0], None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)) is None
    assert known(aten.relu, ()) is None and known(aten.relu, (3.0,)) is None


def test_the_bundled_networks_are_read_without_torch_s_compiler_and_without_sympy() -> None:
    code = (
        "import sys, workbench as wb\n"
        "for name in ('fashion-vgg', 'fashion-resnet', 'fashion-mobilenet'): wb.load(name).network\n"
        "sys.exit(', '.join(sorted({'torch._dynamo', 'sympy'} & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(3, 2), (1, 2)), (nn.Conv2d(3, 4, 1), (1, 4, 2, 2)),
        (nn.Sequential(nn.BatchNorm2d(3)), (1, 4, 2, 2)), (nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), (1, 2)),
    ],
    ids=["linear", "convolution", "norm", "behind an activation"],
)  # fmt: skip
def test_an_input_that_does_not_fit_has_no_cost(module: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError):
        module.eval()(torch.zeros(shape))
    with pytest.raises(BadValue, match="does not accept"):
        cost(module, shape)
