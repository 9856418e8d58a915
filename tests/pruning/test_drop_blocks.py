"""`DropBlocks`: the plan names the blocks that go, and its costs are those of the result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.building import build
from workbench.cost.trace import trace
from workbench.errors import BadValue

Tensor = torch.Tensor
SHAPE = (1, 3, 12, 12)


def conv(a: int, b: int, k: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(b))


class Basic(nn.Module):
    def __init__(self, a: int, b: int, stride: int = 1, project: bool = False) -> None:
        super().__init__()
        self.one, self.two = conv(a, b, 3, stride), conv(b, b)
        self.skip = conv(a, b, 1, stride) if project or a != b or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.two(functional.relu(self.one(x))) + self.skip(x))


class Gate(nn.Module):
    """Squeeze-and-excitation: multiplies, and is no residual block."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(c, 4, 1), nn.Conv2d(4, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(functional.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    def __init__(self, a: int, b: int, wide: int, gate: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(a, wide, 1), nn.ReLU6(), conv(wide, wide, groups=wide), nn.ReLU6(), conv(wide, b, 1)
        )
        self.gate, self.add = Gate(b) if gate else nn.Identity(), a == b

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.body(x))
        return x + y if self.add else y


class Dense(nn.Module):
    def __init__(self, a: int, grow: int) -> None:
        super().__init__()
        self.conv = conv(a, grow)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, functional.relu(self.conv(x))], 1)


class Scaled(nn.Module):
    """Takes more than its input: a factor, and the sum of what came before."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = conv(c, c)

    def forward(self, x: Tensor, scale: float, more: Tensor | None = None) -> Tensor:
        y = x + scale * self.conv(x)
        return y if more is None else y + more.mean()


class Arguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = conv(3, 8), Scaled(8), Scaled(8), Scaled(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.c(self.b(self.a(x, 0.5), scale=2.0), 0.1, more=x)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.conv = Basic(8, 8), conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.inner(x))


class Twice(nn.Module):
    """One block used twice, and one used once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again, self.once = conv(3, 8), Basic(8, 8), Basic(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.once(self.again(self.again(self.stem(x))))


class Tied(nn.Module):
    """Two blocks that share a convolution, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = conv(3, 8), Basic(8, 8), Basic(8, 8), Basic(8, 8)
        self.b.one[0].weight = self.a.one[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(self.stem(x))))


class Layered(nn.Module):
    """A transformer's block: tokens, two sums."""

    def __init__(self, d: int, hidden: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.n1(x)).chunk(3, -1)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v))
        return x + self.mlp(self.n2(x))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.ModuleList([Layered(16, 32), Layered(16, 64), Layered(16, 16)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x.mean(1)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y += x
        return functional.relu(y, inplace=True)


def net(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


NETWORKS: dict[str, Any] = {
    "equal": lambda: net(conv(3, 8), Basic(8, 8), Basic(8, 8), Basic(8, 8)),
    "stages": lambda: net(conv(3, 8), Basic(8, 8), Basic(8, 16, 2), Basic(16, 16), Basic(16, 24), Basic(24, 24)),
    "projection of one shape": lambda: net(conv(3, 8), Basic(8, 8, project=True), Basic(8, 8), Basic(8, 12)),
    "in stages of Sequential": lambda: net(
        conv(3, 8), nn.Sequential(Basic(8, 8), Basic(8, 8)), nn.Sequential(Basic(8, 16, 2), Basic(16, 16))
    ),
    "inverted": lambda: net(
        conv(3, 8), Inverted(8, 8, 16), Inverted(8, 8, 48), Inverted(8, 12, 24), Inverted(12, 12, 8)
    ),
    "squeeze and excitation": lambda: net(conv(3, 8), Inverted(8, 8, 16, True), Inverted(8, 8, 32, True), Gate(8)),
    "dense": lambda: net(conv(3, 8), Dense(8, 4), Dense(12, 4), Basic(16, 16)),
    "arguments": Arguments,
    "nested": lambda: net(conv(3, 8), Nested(), Basic(8, 8)),
    "used twice": Twice,
    "tied": Tied,
    "transformer": Tokens,
    "in place": lambda: net(conv(3, 8), InPlace(), Basic(8, 8)),
    "first is a block": lambda: net(Basic(3, 3), Basic(3, 8), Basic(8, 8)),
    "last is a block": lambda: nn.Sequential(conv(3, 8), Basic(8, 8)),
    "plain": lambda: net(conv(3, 8), nn.ReLU(), conv(8, 8)),
}


#: Networks of which fewer than two blocks can go.
MOST = {"dense": 1, "tied": 1, "last is a block": 1}


def data() -> wb.Data:
    x = torch.randn(40, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    return wb.data({"train": (x, torch.arange(40) % 3), "test": (x, torch.arange(40) % 3)})


def load(name: str) -> wb.Model:
    torch.manual_seed(0)
    module = NETWORKS[name]().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):  # so that blocks differ in what they add
            nn.init.uniform_(part.weight, 0.05, 1.0)
    return wb.load(module, example=torch.randn(SHAPE))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_is_the_work(name: str, count: int) -> None:
    model, step = load(name), wb.DropBlocks(count)
    if count > MOST.get(name, count):
        with pytest.raises(BadValue, match=f"{MOST[name]} of the chosen blocks can go.*smaller count"):
            step.plan(model)
        return
    predicted = step.plan(model)
    plan = predicted.frame()
    small = wb.compress(model, step, data())
    found = trace(small.module, model.example)
    totals = found.totals
    assert (predicted.macs, predicted.params) == (totals.macs, totals.params)
    assert predicted.peak_activation_bytes == totals.peak_activation_bytes
    held = sum(p.numel() for p in small.module.parameters())
    assert held == totals.params, "what nothing reads any more is gone"
    before, after = (float(frame.macs.sum()) for frame in (plan, plan.assign(macs=plan.macs_after)))
    assert before - after == model.network.totals.macs - totals.macs
    assert small.module(torch.randn(2, *SHAPE[1:])).shape == model.module(torch.randn(2, *SHAPE[1:])).shape


@pytest.mark.parametrize("recipe", [wb.Tucker(0.5) | wb.DropBlocks(1), wb.PruneChannels(0.5) | wb.DropBlocks(1)])
def test_after_another_step_too(recipe: wb.Recipe) -> None:
    model = load("stages")
    small = wb.compress(model, recipe, data())
    predicted, found = recipe.plan(model), trace(small.module, model.example).totals
    assert (predicted.macs, predicted.params) == (found.macs, found.params)


def test_of_several_sizes_the_one_that_adds_least_goes() -> None:
    """With scales of 0.1 in its last norm a block adds little, wherever it stands; no image is looked at."""
    for small in (1, 2, 3):
        torch.manual_seed(0)
        module = net(conv(3, 8), *(Inverted(8, 8, wide) for wide in (8, 16, 32))).eval()
        for index in (1, 2, 3):
            nn.init.constant_(module[index].body[4][1].weight, 0.1 if index == small else 0.8)
        plan = wb.DropBlocks(1).plan(wb.load(module, example=torch.randn(SHAPE)))
        assert plan[plan.applies].layer.tolist() == [str(small)]


def test_of_equal_sizes_measurement_decides() -> None:
    """The plan cannot know that a block of the same size does nothing on these images."""
    torch.manual_seed(0)
    module = net(nn.Sequential(conv(3, 8), nn.ReLU()), InPlace(), InPlace(), InPlace()).eval()
    with torch.no_grad():
        module[1].conv[1].weight.zero_()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        module.train()(data()["calibration"].inputs.clone())  # so that its statistics are those of these images
    module.eval()
    model = wb.load(module, example=torch.randn(SHAPE))
    kept = build.rewrite(model, wb.DropBlocks(1).recipe(), data(), recalibrate=False)
    assert {name.split(".")[0] for name, _ in kept.named_parameters()} == {"0", "2", "3"}


def test_gates_and_shared_blocks_stay() -> None:
    assert wb.DropBlocks(1).plan(load("squeeze and excitation")).layer.tolist() == ["1", "2"]
    assert wb.DropBlocks(1).plan(load("used twice")).layer.tolist() == ["again", "once"]  # both uses go together
    assert wb.DropBlocks(1).plan(load("tied")).layer.tolist() == ["c"]


def test_chosen_by_name() -> None:
    model = load("equal")
    plan = wb.DropBlocks(1, layers="3").plan(model)
    assert plan.layer.tolist() == ["3"] and plan.applies.all()
    with pytest.raises(BadValue, match=r"0 of|1 of the chosen blocks can go: 3"):
        wb.DropBlocks(2, layers="3").plan(model)
