"""What layers make the runtime do, counted by hand: orders of maps, amounts of every operator, and their seconds."""

from __future__ import annotations

from itertools import product
from math import ceil, prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cost.calibrated import Calibration
from workbench.cost.features import AMOUNTS, Work, work
from workbench.cost.layer import Layer, Shape
from workbench.cost.network import Network

ROOMY = 1e9  # bytes of a cache that holds everything
MAP = (16, 8, 8)


def conv(before: Shape, after: Shape, kernel: int, reads: int = 0, writes: int = 1, **more: Any) -> Layer:
    sides = {"kernel": (kernel,) * 2, "stride": (1, 1), "padding": (kernel // 2,) * 2, "dilation": (1, 1)}
    return Layer("c", "conv", before, after, "c", reads=(reads,), writes=writes, **{**sides, **more})


def op(kind: str, name: str, before: Shape, after: Shape, *reads: int, writes: int = 1, **more: Any) -> Layer:
    return Layer(name, kind, before, after, reads=reads or (0,), writes=writes, op=name, **more)


def alone(layer: Layer, cache: float = ROOMY) -> tuple[Work, ...]:
    (found,) = work(Network((layer,)), cache)
    return found


def regimes(*layers: Layer) -> list[list[str]]:
    return [[one.regime for one in found] for found in work(Network(layers), ROOMY)]


FIRST = conv(MAP, MAP, 1)  # its output lies in blocks
STAYS = ["move"]


@pytest.mark.parametrize(
    ("between", "own", "kept"),
    [
        (op("activation", "silu", MAP, MAP, 1, writes=2), ["function"], True),
        (op("pool", "max_pool2d", MAP, (16, 4, 4), 1, writes=2), STAYS, True),
        (op("reshape", "alias", MAP, MAP, 1, writes=2), [], True),
        (op("reshape", "view", MAP, (16, 64), 1, writes=2), ["reorder", "sizes"], False),
        (op("other", "roll", MAP, MAP, 1, writes=2), ["reorder", "move"], False),
        (op("copy", "cat", MAP, (32, 8, 8), 1, 1, writes=2, others=1024), STAYS, True),
        (op("copy", "cat", MAP, (48, 8, 8), 1, 1, writes=2, others=2048), STAYS, True),
        (op("copy", "cat", MAP, (24, 8, 8), 1, 1, writes=2, others=512), ["reorder", "move"], False),
        (op("copy", "cat", (8, 8, 8), MAP, 1, 1, writes=2, others=512), ["reorder", "move"], False),
        (op("copy", "stack", MAP, (32, 8, 8), 1, 1, writes=2, others=1024), ["reorder", "move"], False),
        (op("pool", "mean", MAP, (16,), 1, writes=2), STAYS, False),
        (op("activation", "silu", MAP, MAP, 1, writes=2, bits=16), ["reorder", "function"], False),
    ],
    ids=lambda one: one.op + str(one.output) if isinstance(one, Layer) else "",
)
def test_what_lies_in_blocks_stays_so_or_is_put_in_order(between: Layer, own: list[str], kept: bool) -> None:
    last = conv(MAP, MAP, 1, 2, 3)
    found = regimes(FIRST, between, last)
    assert found == [["reorder", "pointwise"], own, [*([] if kept else ["reorder"]), "pointwise"]]


def test_what_was_put_in_order_once_is_there_for_all_readers() -> None:
    others = conv(MAP, MAP, 3, 0, 2), op("other", "roll", MAP, MAP, 2, writes=3), conv(MAP, MAP, 1, 2, 4)
    assert regimes(FIRST, *others) == [["reorder", "pointwise"], ["dense"], ["reorder", "move"], ["pointwise"]]


def test_a_sum_wants_both_maps_in_one_order() -> None:
    total = op("add", "add", MAP, MAP, 1, 0, writes=2, others=1024)
    assert regimes(FIRST, total) == [["reorder", "pointwise"], ["move"]]  # the input was put in order already
    plain = op("other", "roll", MAP, MAP, 5, writes=6)
    total = op("add", "add", MAP, MAP, 1, 6, writes=2, others=1024)
    assert regimes(plain, FIRST, total)[2] == ["reorder", "move"]
    one_each = op("add", "add", MAP, MAP, 1, 6, writes=2, others=16)  # a number a channel is spread over the map
    assert regimes(plain, FIRST, one_each)[2] == ["move"]


def test_what_nothing_has_put_in_blocks_is_plain() -> None:
    for reads in ((0,), ()):  # the network's input, and what it makes of nothing
        made = op("activation", "silu", MAP, MAP, writes=1).but(reads=reads)
        assert regimes(made, conv(MAP, MAP, 1, 1, 2)) == [["function"], ["reorder", "pointwise"]]


def test_vectors_have_no_order() -> None:
    for side, found in ((1, ["move"]), (2, ["reorder", "move"])):
        shape = (16, side, 1)
        assert regimes(conv(shape, shape, 1), op("other", "roll", shape, shape, 1, writes=2))[1] == found


def test_a_few_input_channels_are_read_as_they_are() -> None:
    assert regimes(conv((3, 8, 8), MAP, 3), conv(MAP, MAP, 3, 1, 2)) == [["stem"], ["dense"]]


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_maps_that_leave_the_cache_are_counted_with_the_last_operator(bits: int) -> None:
    layer = conv(MAP, MAP, 1, bits=bits)
    size = 2 * 1024 * bits / 8
    for cache, spilled in ((4 * size, 0.0), (4 * size - 4, size)):
        *before, last = alone(layer, cache)
        assert last.spilled == spilled and not any(one.spilled for one in before)
    assert not any(one.spilled for one in alone(op("activation", "relu6", MAP, MAP, fused=True), 4.0))


@pytest.mark.parametrize(("name", "bits", "fused"), [("relu6", 32, True), ("hardtanh_", 32, True), ("clamp", 32, True)])
def test_a_clip_is_one_more_pass_over_the_rows_of_each_block(name: str, bits: int, fused: bool) -> None:
    shape = (20, 4, 6)
    (found,) = alone(op("activation", name, shape, shape, fused=fused, bits=bits))
    assert found == Work("clip", bytes=2 * 4 * 480, groups=2 * 4, starts=0.0)


def test_what_is_taken_in_for_nothing_is_nothing() -> None:
    assert alone(op("activation", "relu", MAP, MAP, fused=True)) == ()
    assert alone(op("activation", "relu6", MAP, MAP, fused=True, bits=8)) == ()
    assert alone(op("norm", "batch_norm", MAP, MAP, fused=True)) == ()
    assert alone(op("reshape", "flatten", (16, 1, 1), (16,))) == ()
    assert alone(op("reshape", "view", (16, 1, 1), (16,))) == ()  # one axis beside the batch: nothing to compute


@pytest.mark.parametrize(("cache", "away"), [(ROOMY, 0.0), (8.0, 1.0)])
def test_amounts_by_hand(cache: float, away: float) -> None:
    spilled = {"spilled": 4.0 * 12} if away else {}
    assert alone(Layer("l", "linear", (8,), (4,), "l", bias=True, reads=(0,), writes=1), cache) == (
        Work("vector", 32, 4 * 12, weights=4 * 36, far=away * 4 * 36, cold=away, **spilled),
    )
    (tokens,) = alone(Layer("l", "linear", (5, 8), (5, 4), "l", reads=(0,), writes=1, bits=8), cache)
    assert tokens == Work("product8", 160, 60, weights=32, far=away * 32, cold=away, spilled=60.0 * away)
    (sizes,) = alone(op("reshape", "view", (4, 8), (8, 4)), cache)
    assert sizes == Work("sizes", cold=away, spilled=4 * 64 * away)


@pytest.mark.parametrize(
    ("name", "bits", "regime"),
    [
        ("mul", 32, "move"), ("mul", 8, "move8"), ("gelu", 32, "function"), ("gelu", 8, "function8"),
        ("cat", 32, "move"), ("cat", 8, "join8"), ("permute", 32, "function"),
    ],
)  # fmt: skip
def test_what_only_moves(name: str, bits: int, regime: str) -> None:
    (found,) = alone(op("elementwise", name, (6, 4), (6, 4), others=10, bits=bits))
    assert found == Work(regime, bytes=(24 + 10 + 24) * bits / 8)


@pytest.mark.parametrize("away", [0.0, 1.0])
def test_a_sum_that_a_convolution_takes_in_reads_the_other_summand(away: float) -> None:
    cache = 8.0 if away else ROOMY
    made = {"others": 1024, "fused": True}
    (found,) = alone(op("add", "add", MAP, MAP, 0, 5, writes=1, **made), cache)
    assert found == Work("move", bytes=4 * 1024, starts=0.0)
    (whole,) = alone(op("add", "add", MAP, MAP, 0, 5, writes=1, bits=8, **made), cache)
    assert whole == Work("move8", bytes=3 * 1024, cold=away)


@pytest.mark.parametrize("kernel", [1, 3])
def test_patches_are_laid_out_where_there_is_no_kernel_of_its_own(kernel: int) -> None:
    before, after = (18, 8, 8), (12, 8, 8)  # 18 is no multiple of four
    weights, macs = 18 * 12 * kernel**2, 18 * 12 * kernel**2 * 64
    acts, patches = 64 * 30, 64 * 18 * 9 if kernel > 1 else 0
    assert alone(conv(before, after, kernel)) == (Work("unfolded", macs, 4 * acts, 4 * patches, 4 * weights),)
    small = "dense8" if kernel > 1 else "pointwise8"
    assert alone(conv(before, after, kernel, bits=8)) == (Work(small, macs, acts, patches, weights),)


def test_groups_are_computed_one_after_the_other_but_for_those_of_one_channel() -> None:
    shape = (18, 4, 4)
    for bits, groups, regime, counted in ((32, 2, "unfolded", 2), (8, 2, "dense8", 2), (8, 18, "depthwise8", 0)):
        (found,) = alone(conv(shape, shape, 3, groups=groups, bits=bits))
        assert (found.regime, found.groups) == (regime, counted)
    assert alone(conv(shape, shape, 3, bits=8))[0].groups == 0


@given(
    side=st.integers(1, 9), kernel=st.integers(1, 5), stride=st.integers(1, 3), padding=st.integers(0, 3),
    dilation=st.integers(1, 2), widths=st.tuples(st.sampled_from([2, 16, 20, 64]), st.sampled_from([8, 16, 36])),
)  # fmt: skip
def test_a_direct_kernel_by_counting_every_tap(
    side: int, kernel: int, stride: int, padding: int, dilation: int, widths: tuple[int, int]
) -> None:
    inputs, outputs = widths
    size = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if size < 1:
        return
    taps = list(product(range(size), range(kernel)))
    seen = [tap for place, tap in taps if 0 <= place * stride - padding + tap * dilation < side]
    if not seen:
        return
    inside, touched = (len(seen) / len(taps)) ** 2, (len({*seen}) / kernel) ** 2
    layer = conv((inputs, side, side), (outputs, size, size), kernel, stride=(stride,) * 2, padding=(padding,) * 2,
                 dilation=(dilation,) * 2)  # fmt: skip
    found = alone(layer, 0.0)[-1]
    blocks, wide = ceil(inputs / 16), 16 * ceil(outputs / 16)
    deep = 16 * blocks if inputs >= 16 else inputs
    weights = 4 * inputs * outputs * kernel**2
    assert found.regime == ("stem" if inputs < 16 else "pointwise" if kernel == 1 else "dense")
    assert found.macs == pytest.approx(size * size * wide * kernel**2 * deep * inside)
    assert found.unfolded == pytest.approx(found.macs / size)
    assert (found.weights, found.far) == pytest.approx((weights * touched, weights * touched**0.5))
    assert found.bytes == pytest.approx(4 * (side * side * 16 * blocks + size * size * wide))
    assert found.passes == (4 * size * size * wide * blocks if found.regime == "dense" else 0)
    assert (found.groups, found.cold, found.starts) == (0, 1, 1)


def test_seconds_are_amounts_times_what_each_takes() -> None:
    """Every amount has its own seconds, those of a kernel apart from those that all kernels have in common."""
    own = {name: 2.0**n for n, name in enumerate(AMOUNTS)}
    common = {name: 3.0 * own[name] for name in ("far", "spilled", "cold")}
    kernels = {"vector": own, "move": {name: 5.0 * one for name, one in own.items()}}
    calibration = Calibration("m", "", 8.0, 100.0, kernels, common, 0.0)
    linear = Layer("l", "linear", (8,), (4,), "l", reads=(0,), writes=1)
    rolled = op("other", "roll", (4,), (4,), 1, writes=2)
    unknown = op("other", "gelu", (4,), (4,), 2, writes=3)  # of no kernel that was timed: what all have in common
    found = calibration.times(Network((linear, rolled, unknown)))
    weights = 4 * 32
    arithmetic = 32 * own["macs"]
    memory = 48 * own["bytes"] + weights * own["weights"] + weights * common["far"] + 48 * common["spilled"]
    assert found[0] == pytest.approx((arithmetic, memory, own["starts"] + common["cold"] + 100.0))
    moved = 32 * 5 * own["bytes"] + 32 * common["spilled"]
    assert found[1] == pytest.approx((0, moved, 5 * own["starts"] + common["cold"]))
    assert found[2] == pytest.approx((0, 32 * common["spilled"], common["cold"]))
    assert calibration.times(Network((linear,)))[0][2] == found[0][2]  # one run, however often it is asked
    assert calibration.times(Network(())) == []


def test_a_figure_of_no_axes_is_that_of_one_element() -> None:
    number = Layer("n", "other", (), (), reads=(0,), writes=1)
    assert (number.input_bytes, number.output_bytes, number.c_in, number.c_out) == (4, 4, 1, 1)
    assert prod(number.input) == 1
