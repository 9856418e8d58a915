"""Fusion, file sizes, energy and pairs of layers on operations that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost.by_layer import by_layer, origin, pairs
from workbench.cost.compressed import compressed_bytes, ratio
from workbench.cost.energy import PJ_PER_SRAM_BYTE, energy, layer_energy
from workbench.cost.features import work
from workbench.cost.file_size import BIAS, CHANNEL, CONVERSIONS, OPERATOR, file_bytes, weight_bytes
from workbench.cost.fusion import mark_fused
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace

MAP = (8, 4, 4)


def conv(reads: int, writes: int, **more: Any) -> Layer:
    return Layer("c", "conv", MAP, MAP, "c", (1, 1), (1, 1), (0, 0), (1, 1), reads=(reads,), writes=writes, **more)


def op(kind: str, name: str, *reads: int, writes: int, **more: Any) -> Layer:
    others = 128 * (len(reads) - 1)
    return Layer(
        name, kind, MAP, MAP, "n" if kind == "norm" else "", reads=reads, writes=writes, op=name, others=others, **more
    )


def fused(*layers: Layer) -> list[bool]:
    return [one.fused for one in mark_fused(layers)]


def test_a_norm_a_sum_and_an_activation_go_into_a_convolution_each_once_and_in_that_order() -> None:
    norm, total, relu = (
        op("norm", "batch_norm", 1, writes=2), op("add", "add", 2, 0, writes=3), op("activation", "relu_", 3, writes=4)
    )  # fmt: skip
    assert fused(conv(0, 1), norm, total, relu) == [False, True, True, True]
    again = op("activation", "relu", 4, writes=5)
    assert fused(conv(0, 1), norm, total, relu, again) == [False, True, True, True, False]
    late = op("norm", "batch_norm", 4, writes=5)
    assert fused(conv(0, 1), norm, total, relu, late) == [False, True, True, True, False]
    assert fused(conv(0, 1), op("activation", "relu", 1, writes=2), op("norm", "batch_norm", 2, writes=3)) == [
        False, True, False
    ]  # fmt: skip
    assert fused(conv(0, 1), norm, op("norm", "batch_norm", 2, writes=3)) == [False, True, False]


@pytest.mark.parametrize(
    ("kind", "name", "into"),
    [
        ("norm", "native_batch_norm", True), ("norm", "layer_norm", False), ("norm", "group_norm", False),
        ("activation", "hardtanh_", True), ("activation", "sigmoid", True), ("activation", "leaky_relu", True),
        ("activation", "silu", False), ("activation", "gelu", False), ("activation", "hardswish_", False),
        ("pool", "max_pool2d", False), ("elementwise", "mul", False),
    ],
)  # fmt: skip
def test_what_goes_into_a_convolution(kind: str, name: str, into: bool) -> None:
    assert fused(conv(0, 1), op(kind, name, 1, writes=2)) == [False, into]


def test_what_others_read_is_needed_and_stays() -> None:
    relu, other = op("activation", "relu", 1, writes=2), op("pool", "mean", 1, writes=3)
    assert fused(conv(0, 1), relu, other) == [False, False, False]


def test_a_sum_goes_into_a_convolution_where_it_adds_two_maps_of_one_shape() -> None:
    assert fused(conv(0, 1), op("add", "add", 0, 1, writes=2)) == [False, True]  # whichever comes first
    assert fused(conv(0, 1), op("add", "sub", 1, 0, writes=2)) == [False, False]
    assert fused(conv(0, 1), op("add", "add", 1, 1, writes=2)) == [False, False]
    small = op("add", "add", 1, 0, writes=2).but(others=8)
    assert fused(conv(0, 1), small) == [False, False]
    head = Layer("h", "linear", (8,), (8,), "h", reads=(0,), writes=1)
    summed = Layer("s", "add", (8,), (8,), reads=(1, 0), writes=2, op="add", others=8)
    assert fused(head, summed) == [False, False]
    relu = Layer("r", "activation", (8,), (8,), reads=(1,), writes=2, op="relu")
    assert fused(head, relu) == [False, True]
    tokens = Layer("t", "linear", (5, 8), (5, 8), "t", reads=(0,), writes=1)
    assert fused(tokens, relu.but(input=(5, 8), output=(5, 8))) == [False, False]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bits", [32, 16, 8, 4])
def test_a_file_holds_weights_scales_biases_and_words(bits: int, bias: bool) -> None:
    layer = conv(0, 1, bias=bias, bits=bits)
    weights = 8 * 8 * bits / 8
    assert weight_bytes(layer) == weights
    expected = OPERATOR + weights + 8 * BIAS * bias + CHANNEL.get(bits, 0) * 8 + CONVERSIONS.get(bits, 0)
    assert file_bytes(Network((layer,))) == expected
    stored = layer.at(32, bits)  # computed in float, stored in fewer bits
    assert weight_bytes(stored) == weights and file_bytes(Network((stored,))) == expected


def test_what_is_folded_or_shared_takes_no_room_but_for_new_biases() -> None:
    norm = op("norm", "batch_norm", 1, writes=2, fused=True, weights=32)
    alone, biased = (file_bytes(Network((conv(0, 1, bias=bias),))) for bias in (False, True))
    assert file_bytes(Network((conv(0, 1), norm))) == alone + 8 * BIAS == biased
    assert file_bytes(Network((conv(0, 1, bias=True), norm))) == biased
    relu = op("activation", "relu", 2, writes=3)
    assert file_bytes(Network((conv(0, 1), norm, relu.but(fused=True)))) == alone + 8 * BIAS
    assert file_bytes(Network((conv(0, 1), norm, relu))) == alone + 8 * BIAS + OPERATOR
    assert file_bytes(Network((conv(0, 1), op("reshape", "flatten", 1, writes=2)))) == alone
    shared = conv(1, 2, shared=True)
    assert weight_bytes(shared) == 0 and file_bytes(Network((conv(0, 1), shared))) == alone + OPERATOR
    assert file_bytes(Network((relu.but(bits=8),))) == OPERATOR + CONVERSIONS[8]


def test_energy_by_hand() -> None:
    layer = conv(0, 1)
    moved = 4 * (128 + 128 + 64)  # read, written, weights
    found = layer_energy(layer)
    assert found.arithmetic_uj == pytest.approx(8 * 8 * 16 * 4.6e-6)
    assert found.memory_uj == pytest.approx(moved * 162.5e-6)
    assert found.total_uj == found.arithmetic_uj + found.memory_uj
    assert layer_energy(layer, PJ_PER_SRAM_BYTE).memory_uj == pytest.approx(moved * 12.5e-6)
    for bits, each in ((4, 0.3), (8, 0.3), (12, 1.5), (16, 1.5), (24, 4.6), (64, 4.6)):
        assert layer_energy(layer.but(bits=bits)).arithmetic_uj == pytest.approx(1024 * each * 1e-6)
    two = energy(Network((layer, conv(1, 2))))
    assert (two.arithmetic_uj, two.memory_uj) == pytest.approx((2 * found.arithmetic_uj, 2 * found.memory_uj))


def test_zeros_and_few_values_compress() -> None:
    assert 0.85 < ratio(32) < 0.95  # signs and exponents of normal numbers repeat, their digits do not
    falling = [ratio(32, zeros) for zeros in (0.0, 0.3, 0.6, 0.9)]
    assert falling == sorted(falling, reverse=True) and falling[-1] < 0.2
    assert ratio(32, values=2) < ratio(32, values=16) < ratio(32, values=64) < ratio(32)
    assert 1 / 32 <= ratio(32, values=2) < 3 / 32  # a sign and a scale each: a bit a weight at least
    assert ratio(8, 0.9) < ratio(8, 0.5) < ratio(8) <= 1
    whole, pruned = (Network((conv(0, 1, pattern=(zeros, 0)),)) for zeros in (0.0, 0.9))
    saved = compressed_bytes(whole) - compressed_bytes(pruned)
    assert saved == pytest.approx(256 * (ratio(32) - ratio(32, 0.9)))
    assert compressed_bytes(whole) == pytest.approx(256 * ratio(32) + 0.2 * OPERATOR)


@pytest.mark.parametrize("bits", [4, 8])
def test_integers_compress_to_their_entropy(bits: int) -> None:
    """No coder of single weights can do better than what they tell, and a good one comes near."""
    random = np.random.default_rng(7)
    weights = random.normal(size=(64, 576)) * random.uniform(0.5, 1.5, (64, 1))
    steps = np.rint(weights / np.abs(weights).max(1, keepdims=True) * (2 ** (bits - 1) - 1))
    shares = np.unique(steps, return_counts=True)[1] / steps.size
    told = -float(shares @ np.log2(shares)) / bits
    assert 0.97 * told < ratio(bits) < 1.15 * told


def test_layers_are_paired_with_what_they_became() -> None:
    first = wb.load(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), example=torch.zeros(1, 6))
    second = wb.compress(first, wb.SVD(1, layers="0"))
    found = pairs(first.network, second.network)
    assert (found[0].name, len(found[0].after)) == ("0", 2)
    assert found[0].kind == "linear" and found[0].cost("macs") == (48, 6 + 8)
    assert found[0].costs["params"] == (56, 6 + 8 + 8)
    table = by_layer(first.network, second.network).set_index("layer")
    assert table.loc["2", "macs"] == table.loc["2", "macs_after"] == 32
    assert list(table.columns) == [
        "module", "kind", "macs", "macs_after", "params", "params_after", "memory_access_bytes",
        "memory_access_bytes_after",
    ]  # fmt: skip
    backwards = pairs(second.network, first.network)  # what only the other has comes last
    assert {one.name: one.cost("macs") for one in backwards}["0"] == (0, 48)
    assert {one.name: one.cost("macs") for one in backwards}["0.0"] == (6, 0)
    assert origin("a.b.c", {"a", "a.b"}) == "a.b" and origin("x.y", {"a"}) == "" and origin("a", {"a"}) == "a"


def test_a_layer_made_of_another_by_hand_has_costs_of_its_own() -> None:
    first = conv(0, 1)
    assert first.macs == 1024
    assert replace(first, kernel=(3, 3), padding=(1, 1)).macs == 9 * 1024
    with pytest.raises(TypeError):
        Layer("c", "conv", MAP, MAP, memo={})  # type: ignore[call-arg]  # what is remembered is nobody's to give


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.form = nn.Bilinear(3, 4, 5)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.form(left, right)
        return found


def test_a_form_of_two_vectors_by_hand() -> None:
    network = trace(Pairs(), (torch.zeros(1, 3), torch.zeros(1, 4)))
    assert {one.kind: one.macs for one in network.layers if one.macs} == {"matmul": 3 * 4 * 5}
    assert network.totals.params == 3 * 4 * 5 + 5


@pytest.mark.parametrize(("channels", "lie"), [(16, 16), (18, 32), (33, 48)])
def test_maps_in_blocks_move_whole_blocks(channels: int, lie: int) -> None:
    layer = conv(0, 1).but(input=(16, 5, 4), output=(channels, 5, 4))
    done = work(Network((layer,)), 2e6)[0][-1]
    assert (done.regime, done.bytes) == ("pointwise", 4 * 20 * (16 + lie))
    assert done.macs == 20 * 16 * lie


@pytest.mark.parametrize(("bits", "one", "each"), [(32, "stem", "depthwise"), (8, "dense8", "depthwise8")])
def test_one_channel_alone_is_no_depthwise_convolution(bits: int, one: str, each: str) -> None:
    def regime(channels: int) -> str:
        shape = (channels, 9, 9)
        layer = conv(0, 1, bits=bits).but(input=shape, output=shape, kernel=(3, 3), padding=(1, 1), groups=channels)
        return work(Network((layer,)), 2e6)[0][-1].regime

    assert (regime(1), regime(16)) == (one, each)


def test_taps_beyond_the_edge_fetch_their_weights_in_part() -> None:
    """Of the nine taps on a map of one place a single one meets it: its weights are used, some others fetched."""
    layer = conv(0, 1).but(input=(16, 1, 1), output=(16, 1, 1), kernel=(3, 3), padding=(1, 1))
    weights = 4 * 16 * 16 * 9
    near, far = (work(Network((layer,)), cache)[0][-1] for cache in (1e9, 0.0))
    assert (near.weights, near.far, near.cold) == (pytest.approx(weights / 9), 0, 0)
    assert (far.weights, far.far, far.cold) == (pytest.approx(weights / 9), pytest.approx(weights / 3), 1)
    assert near.macs == pytest.approx(16 * 16)


def test_a_change_of_order_reads_and_writes_the_map() -> None:
    odd = conv(0, 1).but(input=(16, 4, 4), output=(18, 4, 4))
    after = conv(1, 2).but(input=(18, 4, 4), output=(16, 4, 4))
    first, second = work(Network((odd, after)), 2e6)
    assert [one.regime for one in (first[0], second[0])] == ["reorder", "reorder"]
    assert (first[0].bytes, second[0].bytes) == (2 * 4 * 16 * 16, 2 * 4 * 18 * 16)


@pytest.mark.parametrize(("shape", "regime"), [((6,), "vector"), ((1, 6), "vector"), ((5, 6), "product")])
def test_a_matrix_meets_one_vector_or_several(shape: tuple[int, ...], regime: str) -> None:
    layer = Layer("h", "linear", shape, (*shape[:-1], 3), "h", reads=(0,), writes=1)
    assert work(Network((layer,)), 2e6)[0][-1].regime == regime
    assert work(Network((layer.but(bits=8),)), 2e6)[0][-1].regime == f"{regime}8"
