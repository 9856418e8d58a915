"""Channels and blocks of networks on tokens, and of what has numbers for each channel: against masks made by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.building.build import rewrite
from workbench.cost.trace import trace
from workbench.data.batches import as_split
from workbench.pruning.channels import follow
from workbench.pruning.importance import KINDS
from workbench.statistics.collector import Feed
from workbench.statistics.moments import collect
from workbench.step import Context

Tensor = torch.Tensor


class Layer(nn.Module):
    """A post-norm transformer layer that takes a mask too."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))
        self.wide, self.narrow = nn.Linear(16, 40), nn.Linear(40, 16)
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(16)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = torch.softmax(self.query(x) @ self.key(x).mT / 4 + mask, -1)
        x = self.first(x + self.out(scores @ self.value(x)))
        return self.second(x + self.narrow(functional.gelu(self.wide(x))))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(30, 16), nn.Linear(16, 3)
        self.layers = nn.ModuleList([Layer(), Layer()])

    def forward(self, tokens: Tensor) -> Tensor:
        mask = (tokens == 0)[:, None].float() * -1e4
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(x[:, 0])  # type: ignore[no-any-return]


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder().eval()


def tokens(count: int) -> Tensor:
    return torch.randint(0, 30, (count, 7), generator=torch.Generator().manual_seed(count))


def data(inputs: Tensor) -> wb.Data:
    labels = torch.arange(len(inputs)) % 3
    return wb.data({"train": (inputs, labels), "test": (inputs[:9], labels[:9])})


def test_hidden_features_of_a_transformer_go() -> None:
    """Those with the smallest weights: as if the layer behind read zeros there."""
    net = encoder()
    model = wb.load(net, example=tokens(1))
    step = wb.PruneChannels(0.5, importance="magnitude", refit=False, rounds=1, round_to=1, layers="*.wide")
    small = wb.compress(model, step)
    by_hand = copy.deepcopy(net)
    with torch.no_grad():
        for layer in by_hand.layers:
            least = layer.wide.weight.norm(dim=1).argsort()[:20]
            layer.narrow.weight[:, least] = 0
        assert torch.allclose(small.module(tokens(9)), by_hand(tokens(9)), atol=1e-5)
    assert wb.cost(model).macs - wb.cost(small).macs == 2 * 7 * 20 * 16 * 2
    assert step.plan(model).params == wb.cost(small).params == sum(p.numel() for p in small.module.parameters())


@pytest.mark.parametrize("importance", KINDS)
def test_every_importance_knows_where_the_features_of_tokens_are(importance: str) -> None:
    """Features that the layer behind does not read are the ones to go; only magnitudes do not tell."""
    net = encoder()
    with torch.no_grad():
        for layer in net.layers:
            layer.narrow.weight[:, 5:25] = 0
            layer.wide.weight[5:25] *= 0.01
    model = wb.load(net, example=tokens(1))
    step = wb.PruneChannels(0.5, importance=importance, rounds=1, round_to=1, layers="*.wide")
    with torch.no_grad():
        assert torch.allclose(wb.compress(model, step, data(tokens(90))).module(tokens(9)), net(tokens(9)), atol=1e-3)


def test_reasons_name_what_is_in_the_way() -> None:
    model = wb.load(encoder(), example=tokens(1))
    why = wb.PruneChannels(0.5).plan(model).set_index("layer").action
    assert "'layers.0.first' normalises over several channels" in why["layers.0.narrow"]
    assert not any(f"'{name}'" in action for name, action in why.items())  # a layer is no reason for itself


def test_a_layer_that_takes_a_mask_is_a_block() -> None:
    model = wb.load(encoder(), example=tokens(1))
    small = rewrite(model, wb.DropBlocks(1).recipe(), data(tokens(60)))
    by_hand = encoder()
    left = {name.split(".")[1] for name, _ in small.named_parameters() if name.startswith("layers.")}
    assert len(left) == 1
    by_hand.layers = nn.ModuleList([by_hand.layers[int(left.pop())]])
    with torch.no_grad():
        assert torch.allclose(small(tokens(9)), by_hand(tokens(9)), atol=1e-5)


class Slopes(nn.Module):
    """Slopes for each channel, one for all, and one layer of them that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 12, 3), nn.Conv2d(12, 8, 3)
        self.own, self.one, self.twice = nn.PReLU(12), nn.PReLU(), nn.PReLU(8)
        self.d, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 3)
        with torch.no_grad():
            self.own.weight.copy_(torch.linspace(-1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.b(self.own(self.a(x))))
        return self.head(self.twice(self.d(self.twice(self.c(x)))).mean((2, 3)))  # type: ignore[no-any-return]


def test_slopes_go_with_their_channels() -> None:
    torch.manual_seed(0)
    net, x = Slopes().eval(), torch.randn(6, 3, 12, 12)
    model = wb.load(net, example=x[:1])
    step = wb.PruneChannels(0.5, importance="magnitude", refit=False, rounds=1, round_to=1)
    plan = step.plan(model).set_index("layer")
    assert "12 to 6" in plan.action["a"] and "12 to 6" in plan.action["b"]
    assert "'twice' is used more than once" in plan.action["c"] and "'twice'" in plan.action["d"]
    small = wb.compress(model, step)
    by_hand = copy.deepcopy(net)
    with torch.no_grad():
        for layer, reader in (("a", "b"), ("b", "c")):
            least = net.get_parameter(f"{layer}.weight").flatten(1).norm(dim=1).argsort()[:6]
            by_hand.get_parameter(f"{reader}.weight")[:, least] = 0
        assert torch.allclose(small.module(x), by_hand(x), atol=1e-5)
    assert step.plan(model).params == sum(p.numel() for p in small.module.parameters())
    twice = step | step
    assert twice.plan(model).params == sum(p.numel() for p in wb.compress(model, twice).module.parameters())


class Blurred(nn.Module):
    """Features of tokens that are averaged with their neighbours: they cannot go one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(functional.avg_pool1d(self.a(x), 3, 1, 1).mean(1))  # type: ignore[no-any-return]


def test_pooling_over_features_is_not_followed() -> None:
    model = wb.load(Blurred(), example=(1, 5, 8))
    assert "mixes" in wb.PruneChannels(0.5).plan(model).action[0]


class Windows(nn.Module):
    """Windows of tokens that are part of the batch, as Swin has them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(len(x) * 4, 16, 6)
        x = self.b(torch.tanh(self.a(x)))
        return x.reshape(len(x) // 4, 64, 3).mean(1)


def test_moments_of_windows_are_those_of_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only some of the tokens are looked at."""
    monkeypatch.setattr("workbench.statistics.moments.SAMPLED_ELEMENTS", 1)
    torch.manual_seed(0)
    x = torch.randn(50, 64, 6) + 2
    model = wb.load(Windows(), example=x[:1])
    layer = model.network.by_module["a"][0]
    sums = collect(model.module, {"a": layer}, Feed(as_split(x)), Context(x[:1]).progress)["a"]
    assert 48 <= sums.count < 50 * 64
    assert torch.allclose(sums.mean[0], torch.full((6,), 2.0, dtype=torch.float64), atol=0.4)


def test_maps_of_other_shapes_leave_channels_where_they_are() -> None:
    """A linear layer on maps that are turned: torch works on rows, and gives maps back."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 20), nn.GELU(), nn.Linear(20, 6)).eval()
    model = wb.load(net, example=(1, 4, 5, 6))
    channels = follow(trace(model.module, model.example), model.module)
    assert [group.layers for group in channels.groups] == [("1",)]
