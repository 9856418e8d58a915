"""Costs against hand computations and against torch's own flop counter."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb
from workbench.cost.energy import energy
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.roofline import device
from workbench.models.architectures import ARCHITECTURES


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_totals_agree_with_torchs_flop_counter(name: str) -> None:
    module, example = ARCHITECTURES[name]().eval(), torch.zeros(1, 1, 28, 28)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    cost = wb.cost(module, example)
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.params == sum(p.numel() for p in module.parameters())
    assert cost.unsupported == ()


def test_a_convolution_by_hand() -> None:
    # 3x3, 4 -> 6 channels, groups 2, stride 2 on 8x8: output 4x4.
    cost = wb.cost(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.zeros(1, 4, 8, 8))
    assert cost.macs == 4 * 4 * 6 * (4 // 2) * 9
    assert cost.params == 6 * 2 * 9 + 6
    assert cost.memory_access_bytes == 4 * (4 * 8 * 8 + 6 * 4 * 4 + cost.params)
    assert cost.peak_activation_bytes == 4 * (4 * 8 * 8 + 6 * 4 * 4)


def test_pointwise_memory_access_is_shufflenets_formula() -> None:
    h, w, c1, c2 = 7, 5, 12, 20
    cost = wb.cost(nn.Conv2d(c1, c2, 1, bias=False), torch.zeros(1, c1, h, w))
    assert cost.memory_access_bytes == 4 * (h * w * (c1 + c2) + c1 * c2)


def test_a_transposed_convolution_and_tokens_by_hand() -> None:
    cost = wb.cost(nn.ConvTranspose2d(3, 5, 2, stride=2), torch.zeros(1, 3, 6, 6))
    assert (cost.macs, cost.params) == (3 * 6 * 6 * 5 * 4, 3 * 5 * 4 + 5)
    assert wb.cost(nn.Linear(16, 8), torch.zeros(1, 10, 16)).macs == 10 * 16 * 8


def test_a_residual_keeps_its_input_alive() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.conv2(self.conv(x))

    tensor = 4 * 4 * 8 * 8
    # while the second convolution runs, its input, its output and the skipped input are alive
    assert wb.cost(Residual(), torch.zeros(1, 4, 8, 8)).peak_activation_bytes == 3 * tensor


def test_a_shared_layer_costs_twice_and_weighs_once() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    once, twice = (wb.cost(nn.Sequential(*[conv] * n), torch.zeros(1, 4, 8, 8)) for n in (1, 2))
    assert twice.macs == 2 * once.macs
    assert twice.params == once.params


def test_totals_equal_the_sum_of_the_rows() -> None:
    cost = wb.cost(ARCHITECTURES["fashion-resnet"](), torch.zeros(1, 1, 28, 28))
    rows = cost.layers()
    assert (rows.macs.sum(), rows.memory_access_bytes.sum()) == (cost.macs, cost.memory_access_bytes)
    assert rows.params.sum() == cost.params


def test_tracing_leaves_the_module_as_it_was() -> None:
    module = ARCHITECTURES["fashion-mobilenet"]().train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    wb.cost(module, torch.zeros(1, 1, 28, 28))
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_unknown_operations_are_listed() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cumsum(x, 1)

    assert wb.cost(Odd(), torch.zeros(1, 4)).unsupported


def test_an_example_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(wb.WorkbenchError, match=r"\(1, 3, 8, 8\)"):
        wb.cost(nn.Conv2d(4, 4, 3), torch.zeros(1, 3, 8, 8))


def test_replacing_a_layer_rewires_its_neighbours() -> None:
    first = Layer("a", "conv", (4, 8, 8), (6, 8, 8), "a", (3, 3), reads=(0,), writes=1)
    last = Layer("b", "conv", (6, 8, 8), (2, 8, 8), "b", (1, 1), reads=(1,), writes=2)
    chain = [first.but(output=(3, 8, 8)), first.but(input=(3, 8, 8), kernel=(1, 1))]
    network = Network((first, last)).replace({"a": chain})
    assert [x.module for x in network.layers] == ["a.0", "a.1", "b"]
    assert network.layers[0].writes == network.layers[1].reads[0]
    assert network.layers[1].writes == last.reads[0]
    assert network.totals.macs == 64 * (4 * 3 * 9 + 3 * 6 + 6 * 2)


def test_fewer_bits_move_fewer_bytes() -> None:
    network = wb.cost(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 9, 9)).network
    assert network.with_bits(8).totals.memory_access_bytes * 4 == network.totals.memory_access_bytes


def test_the_roofline_takes_the_larger_of_arithmetic_and_memory() -> None:
    profile = device()
    layer = Layer("a", "linear", (1000,), (1000,), "a")
    seconds = max(1e6 / profile.macs_per_second["pointwise"], 4 * (2000 + 1e6) / profile.bytes_per_second)
    expected = 1e3 * (seconds + profile.seconds_per_operator)
    assert profile.latency_ms(Network((layer,))) == pytest.approx(expected)
    with pytest.raises(wb.WorkbenchError, match="abacus"):
        device("abacus")


def test_attention_counts_every_head() -> None:
    tokens, width, heads = 10, 16, 4
    attention = nn.MultiheadAttention(width, heads, batch_first=True).eval()

    class Self(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.attention(x, x, x, need_weights=False)[0]
            return found

    cost = wb.cost(Self(), torch.zeros(1, tokens, width))
    projections = tokens * width * 3 * width + tokens * width * width
    assert cost.macs == projections + 2 * tokens * tokens * width  # all heads together are as wide as the tokens
    assert cost.params == sum(p.numel() for p in attention.parameters())
    assert cost.unsupported == ()


def test_batched_products_and_products_of_activations() -> None:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ x.transpose(-1, -2)

    assert wb.cost(Product(), torch.zeros(1, 6, 5, 3)).macs == 6 * 5 * 3 * 5


def test_dilation_costs_nothing_and_groups_divide() -> None:
    image = torch.zeros(1, 8, 9, 9)
    plain, dilated, grouped = (
        wb.cost(nn.Conv2d(8, 8, 3, **more), image).macs  # type: ignore[arg-type]
        for more in ({"padding": 1}, {"padding": 2, "dilation": 2}, {"padding": 1, "groups": 8})
    )
    assert plain == dilated == 8 * grouped


def test_parameters_that_a_parent_holds_count_once() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 1, 1))
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.conv(x * self.scale) * self.scale
            return found

    module = Scaled()
    assert wb.cost(module, torch.zeros(1, 4, 5, 5)).params == sum(p.numel() for p in module.parameters())


def test_a_sum_of_maps_of_different_sizes_reads_each() -> None:
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.mean((2, 3), keepdim=True)

    cost = wb.cost(Gate(), torch.zeros(1, 4, 5, 5))
    assert cost.memory_access_bytes == 4 * ((100 + 4) + (100 + 4 + 100))


def test_folding_saves_the_passes_of_norm_activation_and_sum() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.norm(self.conv(x)))

    cost, map_bytes = wb.cost(Block(), torch.zeros(1, 4, 8, 8)), 4 * 4 * 8 * 8
    weights = 4 * 4 * 4 * 9
    assert cost.memory_access_bytes == 3 * map_bytes + weights  # input, the other summand, output
    # convolution, norm with its two parameters a channel, sum of two, ReLU
    assert cost.unfused_memory_access_bytes == (2 + 2 + 3 + 2) * map_bytes + weights + 4 * 8


def test_what_two_layers_read_is_not_folded() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return torch.cat([torch.relu(y), y], 1)

    rows = wb.cost(Fork(), torch.zeros(1, 4, 8, 8)).layers().set_index("kind")
    assert not rows.loc["activation"].fused


@pytest.mark.parametrize(("bits", "per_mac"), [(32, 4.6), (16, 1.5), (8, 0.3)])
def test_energy_is_horowitzs_table(bits: int, per_mac: float) -> None:
    network = wb.cost(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 9, 9)).network.with_bits(bits)
    found, totals = energy(network), network.totals
    assert found.arithmetic_uj == pytest.approx(totals.macs * per_mac / 1e6)
    assert found.memory_uj == pytest.approx(totals.memory_access_bytes / 8 * 1300 / 1e6)  # 1.3 nJ for 64 bits


def test_every_total_is_the_sum_of_its_column() -> None:
    cost = wb.cost(ARCHITECTURES["fashion-mobilenet"](), torch.zeros(1, 1, 28, 28))
    rows = cost.layers()
    for name in ("macs", "params", "memory_access_bytes", "unfused_memory_access_bytes"):
        assert rows[name].sum() == getattr(cost, name)
    assert rows.energy_uj.sum() == pytest.approx(cost.energy_uj)
    assert cost.arithmetic_intensity == pytest.approx(cost.macs / cost.memory_access_bytes)
