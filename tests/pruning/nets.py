"""Small networks with every kind of tie between channels, for tests of pruning."""

from __future__ import annotations

import torch
from torch import nn

import workbench as wb
from workbench.data import Data


def conv(c_in: int, c_out: int, kernel: int = 3, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=bias)


class Plain(nn.Module):
    """Convolutions in a row, a flattened map, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.na = conv(3, 16), nn.BatchNorm2d(16)
        self.b = conv(16, 24, bias=True)
        self.c, self.d = nn.Linear(24 * 16, 20), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.na(self.a(x)))
        x = nn.functional.max_pool2d(torch.relu(self.b(x)), 2)
        return self.d(torch.relu(self.c(x.flatten(1))))


class Residual(nn.Module):
    """A sum that ties two layers, an inner layer that is free."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(16, 32), conv(32, 16)
        self.n = nn.BatchNorm2d(16)
        self.d = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.a(x))
        x = x + self.n(self.c(torch.relu(self.b(x))))
        return self.d(x.mean((2, 3)))


class Concatenated(nn.Module):
    """Two branches side by side, one of them also read alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 16), conv(3, 24)
        self.n, self.c, self.e = nn.BatchNorm2d(40), conv(40, 16), conv(16, 16)
        self.d = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        y = self.c(torch.relu(self.n(torch.cat([a, b], 1))))
        return self.d((y + self.e(torch.relu(a))).mean((2, 3)))


class Depthwise(nn.Module):
    """An inverted residual: expansion, depthwise, projection."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv(3, 16)
        self.b, self.c, self.e = conv(16, 32, 1), conv(32, 32, groups=32), conv(32, 16, 1)
        self.n = nn.BatchNorm2d(32)
        self.d = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        x = x + self.e(torch.relu(self.n(self.c(torch.relu(self.b(x))))))
        return self.d(x.mean((2, 3)))


class Gated(nn.Module):
    """Squeeze and excitation: channels that scale a map."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.s, self.e, self.b = conv(3, 16), conv(16, 8, 1, bias=True), conv(8, 16, 1, bias=True), conv(16, 16)
        self.d = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.a(x))
        gate = torch.sigmoid(self.e(torch.relu(self.s(x.mean((2, 3), keepdim=True)))))
        return self.d(self.b(x * gate).mean((2, 3)))


class Split(nn.Module):
    """A channel shuffle that is not followed, in front of a free layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(16, 16), conv(16, 16)
        self.d = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.d(self.c(torch.relu(self.b(x))).mean((2, 3)))


class InGroups(nn.Module):
    """A grouped convolution, whose groups must stay equal."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(16, 32, groups=4), conv(32, 16)
        self.d = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.d(torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x)))))).mean((2, 3)))


EXAMPLE = torch.zeros(1, 3, 8, 8)
NETS = (Plain, Residual, Concatenated, Depthwise, Gated, Split, InGroups)


def make(kind: type[nn.Module]) -> nn.Module:
    """A network with weights and statistics that are all different."""
    torch.manual_seed(0)
    net = kind().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            part.weight.data.uniform_(0.5, 2)
            part.bias.data.normal_()
    return net


def images(n: int, seed: int = 0) -> torch.Tensor:
    """Inputs with correlated channels and positions, as images have."""
    random = torch.Generator().manual_seed(seed)
    rough = torch.randn(n, 3, 4, 4, generator=random)
    return nn.functional.interpolate(rough, size=8, mode="bilinear") + 0.1 * torch.randn(n, 3, 8, 8, generator=random)


def data_for(net: nn.Module, n: int = 120) -> Data:
    """Splits whose labels are what the network itself says."""
    splits = {}
    for seed, name in enumerate(("train", "test")):
        x = images(n, seed)
        with torch.no_grad():
            splits[name] = (x, net(x).argmax(1))
    return wb.data(splits, name="small", classes=tuple("abcde"))
