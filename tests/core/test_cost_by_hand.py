"""Costs of single operations and small networks, each term counted by hand."""

from __future__ import annotations

import itertools
import math
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost.layer import Layer
from workbench.cost.network import Network, Occupancy, Replaced, Totals
from workbench.cost.on_device import place
from workbench.cost.report import of_network
from workbench.cost.roofline import Device, weight_bytes, working_set

SIDE = 6
MAP = 4 * SIDE * SIDE  # elements of a map of four channels


class Moved(nn.Module):
    """A convolution, and one way to move what it gives to another place."""

    def __init__(self, how: object) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(4, 4, 1), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.how(self.conv(x))  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize(
    ("how", "elements"),
    [
        (lambda y: torch.cat([y, y], 1), 2 * MAP),
        (lambda y: y.permute(0, 2, 3, 1).contiguous(), MAP),
        (lambda y: y[:, 1:2], MAP // 4),  # what is not taken is not read
        (lambda y: torch.roll(y, 1, 2), MAP),
    ],
    ids=["cat", "permute", "slice", "roll"],
)
def test_what_is_copied_is_read_and_written(how: object, elements: int) -> None:
    rows = wb.cost(Moved(how), torch.zeros(1, 4, SIDE, SIDE)).layers()
    copies = rows[rows.kind == "copy"]
    assert copies.memory_access_bytes.sum() == 4 * (elements + elements)
    assert not copies.macs.any() and not copies.params.any()


def test_a_view_moves_nothing() -> None:
    rows = wb.cost(Moved(lambda y: y.flatten(1)), torch.zeros(1, 4, SIDE, SIDE)).layers().set_index("kind")
    assert rows.loc["reshape", ["macs", "memory_access_bytes", "unfused_memory_access_bytes"]].sum() == 0


SUM = Layer("s", "add", (4, SIDE, SIDE), (4, SIDE, SIDE), reads=(0, 1), writes=2, fused=True, op="add", others=MAP)


@pytest.mark.parametrize(
    ("bits", "moved"),
    [
        (32, 4 * MAP),  # the convolution has one summand at hand; the other is read
        (16, 2 * 3 * MAP),  # two read, one written: kernels in fewer bits take no sum in
        (8, 3 * MAP),
    ],
)
def test_a_sum_behind_a_convolution(bits: int, moved: int) -> None:
    one = SUM.but(bits=bits)
    assert one.memory_access_bytes == moved
    assert one.unfused_memory_access_bytes == bits // 8 * 3 * MAP
    assert SUM.at(bits, 0) == one and SUM.at(bits, 0) is SUM.at(bits, 0)


def test_what_is_folded_away_besides_sums_moves_nothing() -> None:
    norm = Layer("n", "norm", (4, SIDE, SIDE), (4, SIDE, SIDE), "n", weights=8, fused=True, others=3)
    assert norm.memory_access_bytes == 0 and norm.but(bits=8).memory_access_bytes == 0
    assert norm.but(fused=False).memory_access_bytes == 4 * (2 * MAP + 8 + 3)


@pytest.mark.parametrize("module", ["", "m"])
@pytest.mark.parametrize("to", ["", "n"])
def test_an_operation_costs_the_same_at_another_place(module: str, to: str) -> None:
    one = Layer("a", "linear", (6,), (4,), module, weights=5, bias=True)
    moved = one.placed("b", to, (7, 8), 9, True)
    assert moved == replace(one, name="b", module=to, reads=(7, 8), writes=9, result=True)
    assert one == Layer("a", "linear", (6,), (4,), module, weights=5, bias=True)
    if bool(module) == bool(to):  # without a module there is no weight to count
        assert moved.costs == one.costs


def test_what_is_remembered_of_an_operation_is_no_part_of_it() -> None:
    one, same = (Layer("a", "linear", (6,), (4,), "m", bias=True) for _ in range(2))
    assert one.costs == (24, 28, 4 * (6 + 4 + 28))
    assert one == same and hash(one) == hash(same) and "memo" not in repr(one)
    assert Network((one,)) == Network((same,)) and pickle.loads(pickle.dumps(one)) == one


def test_other_values_are_another_operation() -> None:
    one = Layer("a", "linear", (6,), (4,), "m", bias=True)
    assert one.but(bits=32, name="a") is one
    assert one.but(bits=8) == replace(one, bits=8) and one.but(bits=8).costs == (24, 28, 6 + 4 + 28)
    assert (one.but(output=(5,)).macs, one.macs) == (30, 24)
    with pytest.raises(TypeError, match="no width"):
        one.but(width=3)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        return torch.relu(x + self.b(x))


def test_an_integer_network_pays_for_its_sums() -> None:
    network = wb.cost(Residual(), torch.zeros(1, 4, SIDE, SIDE)).network
    weights = 2 * (4 * 4 * 9 + 4)
    # two convolutions read and write a map each, the sum reads one more; the ReLU is folded
    assert of_network(network).memory_access_bytes == 4 * (2 * 2 * MAP + MAP + weights)
    # with integers the sum reads both and writes one
    assert of_network(network.with_bits(8)).memory_access_bytes == 2 * 2 * MAP + 3 * MAP + weights


# --- what is in memory at a time


def test_what_is_held_freed_and_written_by_hand() -> None:
    """Three in a row; d adds what a and c wrote, e is a view of that, and f reads it."""
    square = (2, 3, 3)

    def one(name: str, kind: str, reads: tuple[int, ...], writes: int, output: tuple[int, ...] = square) -> Layer:
        return Layer(name, kind, square, output, reads=reads, writes=writes, kernel=(1, 1))

    network = Network((
        one("a", "conv", (0,), 1, (4, 3, 3)),
        one("b", "conv", (1,), 2).but(input=(4, 3, 3)),
        one("c", "conv", (2,), 3, (4, 3, 3)),
        one("d", "add", (1, 3), 4, (4, 3, 3)).but(input=(4, 3, 3)),
        one("e", "reshape", (4,), 5, (36,)).but(input=(4, 3, 3)),
        one("f", "linear", (5,), 6, (10,)).but(input=(36,), kernel=()),
    ))  # fmt: skip
    small, large = 4 * 18, 4 * 36
    assert network.occupancy == (
        Occupancy(small, small, large),
        Occupancy(large, 0, small),  # a's output is read again
        Occupancy(large + small, small, large),
        Occupancy(2 * large, 2 * large, large),
        Occupancy(large, 0, 0),  # a view of d's
        Occupancy(large, large, 40),
    )
    assert network.totals.peak_activation_bytes == 3 * large


def test_an_output_that_nobody_reads_goes_with_the_next_operation() -> None:
    def conv(name: str, reads: int, writes: int, channels: int) -> Layer:
        return Layer(name, "conv", (1, 2, 2), (channels, 2, 2), reads=(reads,), writes=writes, kernel=(1, 1))

    network = Network((conv("side", 0, 1, 7), conv("main", 0, 2, 2), conv("next", 2, 3, 1).but(input=(2, 2, 2))))
    four = 4 * 4
    assert network.occupancy == (
        Occupancy(four, 0, 7 * four), Occupancy(8 * four, 8 * four, 2 * four), Occupancy(2 * four, 2 * four, four),
    )  # fmt: skip


@pytest.mark.parametrize("links", [1, 2, 3])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_peak_with_a_chain_is_that_of_the_network_made_anew(links: int, place: int) -> None:
    torch.manual_seed(links)
    net = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Conv2d(5, 9, 3), nn.Conv2d(9, 3, 1), nn.Conv2d(3, 8, 1))
    network = wb.cost(net, torch.zeros(1, 2, 8, 8)).network
    old = network.layers[place]
    widths = [old.c_in, *(40, 3)[: links - 1], old.c_out]
    chain = [
        Layer("x", "conv", (before, *old.output[1:]), (after, *old.output[1:]), "x", (1, 1), (1, 1), (0, 0), (1, 1))
        for before, after in itertools.pairwise(widths)
    ]
    chain[0] = chain[0].but(input=old.input)
    after = network.replace({str(place): chain})
    assert isinstance(after, Replaced)  # its totals are told by difference
    assert after.totals == Network(tuple(replace(one) for one in after.layers)).totals
    outputs = [one.output_bytes for one in after.layers]
    inputs = [4 * math.prod(net_input) for net_input in [(2, 8, 8), *(one.output for one in after.layers[:-1])]]
    assert after.totals.peak_activation_bytes == max(map(sum, zip(inputs, outputs, strict=True)))


def test_an_activation_that_nothing_takes_in_has_an_output_of_its_own() -> None:
    network = wb.cost(nn.Sequential(nn.SiLU(), nn.Conv2d(4, 1, SIDE)), torch.zeros(1, 4, SIDE, SIDE)).network
    assert [one.fused for one in network.layers] == [False, False]
    assert network.occupancy == (Occupancy(4 * MAP, 4 * MAP, 4 * MAP), Occupancy(4 * MAP, 4 * MAP, 4))


def test_a_chain_in_the_place_of_what_was_folded_away_has_memory_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, SIDE)).eval()
    network = wb.cost(net, torch.zeros(1, 2, SIDE, SIDE)).network
    assert network.layers[1].fused
    wide, narrow = ((channels, SIDE, SIDE) for channels in (8, 4))
    links = [
        Layer("x", "conv", before, after, "x", (1, 1), (1, 1), (0, 0), (1, 1))
        for before, after in ((narrow, wide), (wide, narrow))
    ]
    after = network.replace({"1": links})
    # of 4, 8 and 4 channels, two at a time
    assert after.totals.peak_activation_bytes == 4 * (MAP + 2 * MAP)
    again = after.replace({"1.1": links})  # chains in chains are told as they are, too
    assert again.totals == Network(tuple(replace(one) for one in again.layers)).totals


def test_chains_in_the_place_of_a_layer_used_twice_weigh_once() -> None:
    shared = nn.Linear(6, 6)
    network = wb.cost(nn.Sequential(shared, nn.Tanh(), shared), torch.zeros(1, 6)).network
    name = network.layers[0].module
    chain = [Layer("x", "linear", (a,), (b,), "x", bias=b == 6) for a, b in ((6, 2), (2, 6))]
    after = network.replace({name: chain}).totals
    assert (network.totals.macs, network.totals.params) == (2 * 36, 36 + 6)
    assert (after.macs, after.params) == (2 * 24, 24 + 6)


def test_groups_divide_what_a_transposed_convolution_does() -> None:
    cost = wb.cost(nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), torch.zeros(1, 4, 3, 3))
    assert cost.macs == (3 * 3 * 4) * (6 // 2) * 4  # every input meets the outputs of its group, at each tap
    assert cost.params == 4 * (6 // 2) * 4 + 6


def test_a_network_of_nothing_costs_nothing() -> None:
    assert Network(()).totals == Totals(0, 0, 0, 0)
    assert Network(()).occupancy == () and weight_bytes(Network(())) == 0


# --- devices


def device(**facts: float) -> Device:
    fast = {"dense": 1e6, "pointwise": 1e6, "depthwise": 1e6}
    usual = {"bytes_per_second": 1e6, "seconds_per_operator": 0.0, "speedup_by_bits": {"32": 1.0, "8": 2.0}}
    return Device("d", fast, **{**usual, **facts})  # type: ignore[arg-type]


LINEAR = wb.cost(nn.Linear(30, 20), torch.zeros(1, 30)).network
WEIGHTS, ACTIVATIONS = 4 * (30 * 20 + 20), 4 * (30 + 20)


@pytest.mark.parametrize("flash", [0, 10**6])
def test_weights_are_in_ram_where_there_is_no_flash(flash: int) -> None:
    found = place(LINEAR, device(ram_bytes=10**6, flash_bytes=flash))
    assert (found.ram_bytes, found.flash_bytes) == ((ACTIVATIONS, WEIGHTS) if flash else (ACTIVATIONS + WEIGHTS, 0))


@pytest.mark.parametrize(
    ("ram", "flash", "fits"),
    [
        (ACTIVATIONS, WEIGHTS, (True, True)),
        (ACTIVATIONS - 1, WEIGHTS, (False, True)),
        (ACTIVATIONS, WEIGHTS - 1, (True, False)),
        (ACTIVATIONS + WEIGHTS, 0, (True, True)),
        (ACTIVATIONS + WEIGHTS - 1, 0, (False, True)),
        (0, 0, (True, True)),  # no limit worth a check
    ],
)
def test_to_the_byte_it_fits(ram: int, flash: int, fits: tuple[bool, bool]) -> None:
    found = place(LINEAR, device(ram_bytes=ram, flash_bytes=flash))
    assert (found.fits_ram, found.fits_flash) == fits
    assert found.fits is all(fits)
    assert ("RAM" in found.why, "flash" in found.why) == (not fits[0], not fits[1])


@pytest.mark.parametrize("bits", [32, 8])
def test_a_network_runs_from_the_cache_where_weights_and_activations_fit(bits: int) -> None:
    network, share = LINEAR.with_bits(bits), bits / 32
    assert weight_bytes(network) == WEIGHTS * share
    assert working_set(network) == (WEIGHTS + ACTIVATIONS) * share
    moved = (WEIGHTS + ACTIVATIONS) * share
    for spare, speed in ((0, 1e9), (-1, 1e3)):
        cached = device(
            bytes_per_second=1e3, cache_bytes=(WEIGHTS + ACTIVATIONS) * share + spare, cache_bytes_per_second=1e9
        )
        (time,) = cached.times(network)
        assert time.memory == pytest.approx(moved / speed)
        assert time.arithmetic == pytest.approx(600 / (1e6 * (1 if bits == 32 else 2)))
        assert cached.latency_ms(network) == pytest.approx(1e3 * max(time.memory, time.arithmetic))


def test_the_start_of_an_operator_is_paid_once_and_not_for_what_is_folded() -> None:
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4))
    found = place(wb.cost(net.eval(), torch.zeros(1, 2, 3, 3)).network, device(seconds_per_operator=0.5))
    assert found.start_share == pytest.approx(2 * 0.5 / (found.latency_ms / 1e3))
    assert [row.bound for row in found.layers().itertuples()] == ["start", "start"]
