"""What tracing says of single operations: the kind, the geometry, who owns the weights, what is read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.cost.layer import Layer
from workbench.cost.trace import trace

X = torch.zeros(1, 4, 6, 5)


class Does(nn.Module):
    """A function, with parts that it may use."""

    def __init__(self, what: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.what = what
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x: torch.Tensor) -> Any:
        return self.what(self, *x)


def traced(what: Callable[..., Any], *x: torch.Tensor, **parts: Any) -> tuple[Layer, ...]:
    return trace(Does(what, **parts).eval(), x).layers


def only(what: Callable[..., Any], *x: torch.Tensor, **parts: Any) -> Layer:
    (found,) = traced(what, *x, **parts)
    return found


def test_a_convolution_s_geometry() -> None:
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False)
    found = only(lambda net, x: net.c(x), X, c=layer)
    assert (found.name, found.module, found.kind, found.op) == ("c", "c", "conv", "convolution")
    assert (found.input, found.output) == ((4, 6, 5), (6, 3, 3))
    assert (found.kernel, found.stride, found.padding, found.dilation) == ((3, 2), (2, 1), (1, 0), (1, 2))
    assert (found.groups, found.bias, found.weights, found.macs) == (2, False, 6 * 2 * 6, 6 * 9 * 2 * 6)
    back = only(lambda net, x: net.c(x), X, c=nn.ConvTranspose2d(4, 6, 2, stride=2))
    assert (back.kind, back.output, back.bias) == ("conv_transpose", (6, 12, 10), True)
    assert (back.macs, back.weights) == (4 * 30 * 6 * 4, 4 * 6 * 4 + 6)


@pytest.mark.parametrize("bias", [True, False])
def test_a_matrix_of_weights_and_one_of_data(bias: bool) -> None:
    found = only(lambda net, x: net.l(x), torch.zeros(1, 8), l=nn.Linear(8, 3, bias=bias))
    assert (found.kind, found.bias, found.macs, found.weights) == ("linear", bias, 24, 24 + 3 * bias)
    rows = traced(lambda net, x: net.l(x), torch.zeros(1, 7, 8), l=nn.Linear(8, 3, bias=bias))
    (tokens,) = [one for one in rows if one.kind == "linear"]
    assert (tokens.macs, tokens.params, tokens.module) == (7 * 24, 24 + 3 * bias, "l")
    data = [torch.zeros(1, 5, 8), torch.zeros(1, 8, 3)]
    (product,) = [one for one in traced(lambda _, a, b: torch.bmm(a, b), *data) if one.macs]
    assert (product.kind, product.macs, product.weights, product.module) == ("matmul", 5 * 8 * 3, 0, "")
    assert product.reads == (0, 1) and product.others == 24
    (vector,) = [one for one in traced(lambda _, a, b: torch.mv(a[0], b[0]), data[0], torch.zeros(1, 8)) if one.macs]
    assert vector.macs == 40


def test_a_product_with_numbers_that_are_nobody_s_is_no_layer_with_weights() -> None:
    made = torch.ones(8, 3)
    found = [one for one in traced(lambda _, x: x @ made, torch.zeros(1, 8)) if one.macs]
    assert [(one.kind, one.macs, one.params, one.fixed) for one in found] == [("matmul", 24, 0, 24)]


def test_numbers_that_the_network_makes_are_one_thing_each_time_they_are_read() -> None:
    """Also those that torch holds on the CPU, which meet data that have no values."""
    steps = torch.arange(5.0)
    first, second = traced(lambda _, x: (x + steps) * steps, torch.zeros(1, 5))
    assert (first.reads, second.reads) == ((0,), (first.writes,))
    assert (first.others, first.fixed, second.fixed) == (0, 5, 5)


@pytest.mark.parametrize(
    ("what", "axes"),
    [
        (lambda _, x: x.mean((2, 3)), (1, 2)), (lambda _, x: x.sum(-1), (2,)), (lambda _, x: x.amax((-3,)), (0,)),
        (lambda _, x: x.softmax(1), (0,)), (lambda _, x: functional.max_pool2d(x, 2), ()),
        (lambda _, x: x.exp(), ()),
    ],
)  # fmt: skip
def test_axes_that_are_taken_together(what: Callable[..., Any], axes: tuple[int, ...]) -> None:
    assert only(what, X).axes == axes


def test_attention_by_hand() -> None:
    """As torch takes it apart, and as the one operator that it is in some versions and in networks of others."""
    query, key, value = torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 7, 4), torch.zeros(1, 2, 7, 4)
    scores = 2 * 5 * 7
    apart = traced(lambda _, *x: functional.scaled_dot_product_attention(*x), query, key, value)
    assert sum(one.macs for one in apart) == scores * (4 + 4)
    whole = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    found = only(lambda _, *x: whole(*x)[0], query, key, value)
    assert (found.kind, found.macs, found.output, found.reads) == ("attention", scores * (4 + 4), (2, 5, 4), (0, 1, 2))
    assert found.others == 2 * 7 * 4 + 2 * 7 * 4 + 4 * scores  # and the scores are written and read twice


def test_a_part_of_a_parameter_counts_by_itself() -> None:
    """Three weights that are stored as one: each third is read by a product of its own, none twice."""
    both = nn.Parameter(torch.zeros(6, 4))

    def thirds(net: Any, x: torch.Tensor) -> Any:
        a, b, c = net.w.chunk(3)
        return x @ a.T, x @ b.T, x @ c.T, x @ a.T

    products = [one for one in traced(thirds, torch.zeros(1, 4), w=both) if one.macs]
    assert [(one.kind, one.macs, one.weights) for one in products] == [("linear", 8, 8)] * 3 + [("linear", 8, 0)]
    assert [one.shared for one in products] == [False, False, False, True]


def test_a_weight_computed_from_two_counts_both_and_what_is_new_of_them() -> None:
    parts = {"a": nn.Parameter(torch.zeros(3, 4)), "b": nn.Parameter(torch.zeros(3, 4))}

    def both(net: Any, x: torch.Tensor) -> Any:
        return functional.linear(x, net.a), functional.linear(x, net.a * net.b)

    first, second = traced(both, torch.zeros(1, 4), **parts)
    assert (first.weights, first.tied, first.shared) == (12, 0, False)
    assert (second.weights, second.tied, second.shared) == (12, 12, False)


def test_what_is_written_in_place_is_what_is_read_next() -> None:
    def adds(_: Any, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y.add_(1)
        return y.exp()

    first, second, third = traced(adds, X)
    assert (first.reads, second.reads, third.reads) == ((0,), (first.writes,), (second.writes,))
    assert [one.op for one in (first, second, third)] == ["mul", "add_", "exp"]


def test_what_views_move_nothing_and_what_copies_belongs_to_no_layer() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 30)), nn.ReLU())
    view, again, relu = trace(net.eval(), X).layers
    assert [one.kind for one in (view, again, relu)] == ["reshape", "reshape", "activation"]
    assert (view.name.split(".")[0], again.name.split(".")[0], relu.name) == ("0", "1", "2")
    assert not any(one.module for one in (view, again, relu))
    slope = trace(nn.Sequential(nn.PReLU(4)).eval(), X).layers[-1]  # learns, and is an activation
    assert (slope.kind, slope.module, slope.weights) == ("activation", "", 4)


def test_a_layer_that_runs_twice_has_two_names_and_one_weight() -> None:
    first, second = traced(lambda net, x: net.l(net.l(x)), torch.zeros(1, 4), l=nn.Linear(4, 4))
    assert (first.name, second.name, first.module, second.module) == ("l", "l#2", "l", "l")
    assert (first.shared, second.shared, first.params, second.params) == (False, True, 20, 0)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_a_recurrent_layer_gives_its_sequence_and_its_states(cell: type[nn.Module]) -> None:
    def both(net: Any, x: torch.Tensor) -> Any:
        out, state = net.r(x)
        return out.exp(), (state[0] if isinstance(state, tuple) else state).sin()

    first, *readers = traced(both, torch.zeros(1, 7, 3), r=cell(3, 5, batch_first=True))
    gates = 4 if cell is nn.LSTM else 3
    assert (first.kind, first.module, first.input, first.output) == ("recurrent", "r", (7, 3), (7, 5))
    assert first.macs == 7 * gates * 5 * (3 + 5) and first.params == gates * 5 * (3 + 5 + 2)
    assert [one.op for one in readers if first.writes in one.reads] == ["exp", "sin"]


class Mixer(nn.Module):
    """A linear layer across tokens: what it reads is transposed, which torch computes as a product and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x.transpose(1, 2))


def test_a_linear_layer_that_reads_transposed_memory_is_one_operation() -> None:
    (layer,) = [one for one in trace(Mixer(), torch.zeros(1, 6, 7)).layers if one.module == "mix"]
    assert (layer.macs, layer.params, layer.bias) == (7 * 6 * 10, 6 * 10 + 10, True)
