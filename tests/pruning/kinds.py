"""One tiny network for each kind of operation that channels pass, with the groups that were found by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor
Forward = Callable[[nn.Module, Tensor], Tensor]
IMAGE, SOUND, TOKENS, VIDEO = (1, 3, 8, 8), (1, 3, 20), (1, 6, 8), (1, 2, 4, 6, 6)


class Kind(NamedTuple):
    """A network, the shape of its input, and its groups: layers that go together, and how many units they share."""

    module: nn.Module
    shape: tuple[int, ...]
    groups: list[tuple[list[str], int]]


class Made(nn.Module):
    """Parts by name, and a function of them."""

    def __init__(self, forward: Forward, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.computed = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.computed(self, x)


def kind(
    shape: tuple[int, ...], groups: Mapping[str, int], forward: Forward, **parts: nn.Module | nn.Parameter
) -> Kind:
    """`groups`: names of layers with blanks between, and their units; after ">" who reads them, where that differs."""
    torch.manual_seed(0)
    found = sorted((sorted(names.partition(">")[0].split()), units) for names, units in groups.items())
    return Kind(Made(forward, **parts).eval(), shape, found)


def conv(c_in: int, c_out: int, size: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, size, padding=size // 2, groups=groups)


def scale(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.linspace(0.5, 1.5, torch.Size(shape).numel()).reshape(shape))


def shuffled(net: nn.Module, x: Tensor) -> Tensor:
    left, right = net.a(x).chunk(2, 1)
    x = torch.cat([left, net.c(torch.relu(net.b(right)))], 1)
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    return net.d(net.e(x).mean((2, 3)))


def heads(net: nn.Module, x: Tensor) -> Tensor:
    n, t, _ = x.shape
    q, k, v = net.qkv(x).reshape(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
    y = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1) @ v
    return net.d(net.proj(y.transpose(1, 2).reshape(n, t, 8)))


def apart(net: nn.Module, x: Tensor) -> Tensor:
    n, t, _ = x.shape
    q, k, v = (part(x).view(n, t, 4, 8).transpose(1, 2) for part in (net.q, net.k, net.v))
    y = functional.scaled_dot_product_attention(q, k, v)
    return net.d(net.proj(y.transpose(1, 2).flatten(2)))


def biased(net: nn.Module, x: Tensor) -> Tensor:
    """A bias of positions for each head, and tokens with an embedding of their places."""
    x = net.embed(x) + net.places
    n, t, _ = x.shape
    q, k, v = net.qkv(x).reshape(n, t, 3, 4, 2).permute(2, 0, 3, 1, 4)
    y = torch.softmax(q @ k.mT + net.table, -1) @ v
    return net.d(x + net.proj(y.transpose(1, 2).reshape(n, t, 8)))


def convnext(net: nn.Module, x: Tensor) -> Tensor:
    x = net.stem(x)
    y = net.narrow(functional.gelu(net.wide(net.norm(net.deep(x).permute(0, 2, 3, 1)))))
    return net.d((x + (net.gamma * y).permute(0, 3, 1, 2)).mean((2, 3)))


def gated(net: nn.Module, x: Tensor) -> Tensor:
    x = net.a(x)
    return net.d((x * torch.sigmoid(net.up(torch.relu(net.down(x.mean((2, 3), keepdim=True)))))).mean((2, 3)))


def beside(net: nn.Module, x: Tensor) -> Tensor:
    x = net.a(x)
    return net.d(net.c(torch.cat([x, net.b(x)], 1)).mean((2, 3)))


def parted(net: nn.Module, x: Tensor) -> Tensor:
    x = net.a(x)
    return net.d(torch.cat([net.b(x[:, :7]), net.c(x[:, 7:])], 1).mean((2, 3)))


def sizes_apart(net: nn.Module, x: Tensor) -> Tensor:
    """Parts of sizes that are written out: a gate for what stays and what a convolution works on."""
    gate, stays, worked = torch.split(net.a(x), [8, 5, 3], -1)
    worked = net.e(worked.mT).mT
    return net.d(net.b(torch.relu(gate) * torch.cat([stays, worked], -1)))


def turned(net: nn.Module, x: Tensor) -> Tensor:
    """Rows that lie across in memory: torch takes the linear layer apart into a product and a sum."""
    x = net.a(x)
    return net.d(net.b(torch.relu(x.permute(0, 2, 3, 1))).mean((1, 2)))


def widened(net: nn.Module, x: Tensor) -> Tensor:
    """A shortcut that is padded with channels of zeros."""
    x = net.a(x)
    return net.d((functional.pad(x, (0, 0, 0, 0, 0, 4)) + net.b(x)).mean((2, 3)))


KINDS: dict[str, Callable[[], Kind]] = {
    "sound": lambda: kind(
        SOUND, {"a": 8, "b": 6}, lambda net, x: net.d(torch.relu(net.b(net.n(net.a(x)))).mean(2)),
        a=nn.Conv1d(3, 8, 3), n=nn.BatchNorm1d(8), b=nn.Conv1d(8, 6, 3), d=nn.Linear(6, 3),
    ),
    "video": lambda: kind(
        VIDEO, {"a": 8}, lambda net, x: net.d(torch.relu(net.n(net.a(x))).mean((2, 3, 4))),
        a=nn.Conv3d(2, 8, 3), n=nn.BatchNorm3d(8), d=nn.Linear(8, 3),
    ),
    "norm in groups": lambda: kind(
        IMAGE, {"a": 4}, lambda net, x: net.d(torch.relu(net.n(net.a(x))).mean((2, 3))),
        a=conv(3, 12), n=nn.GroupNorm(4, 12), d=nn.Linear(12, 3),
    ),
    "norm of each map": lambda: kind(
        IMAGE, {"a": 12}, lambda net, x: net.d(torch.relu(net.n(net.a(x))).mean((2, 3))),
        a=conv(3, 12), n=nn.InstanceNorm2d(12, affine=True), d=nn.Linear(12, 3),
    ),
    "slopes": lambda: kind(
        IMAGE, {"a": 12}, lambda net, x: net.d(net.p(net.a(x)).mean((2, 3))), a=conv(3, 12), p=nn.PReLU(12),
        d=nn.Linear(12, 3),
    ),
    "scales of a layer": lambda: kind(
        IMAGE, {"a b": 12}, lambda net, x: net.d((net.a(x) + net.s * net.b(x)).mean((2, 3))),
        a=conv(3, 12), b=conv(3, 12), s=scale(1, 12, 1, 1), d=nn.Linear(12, 3),
    ),
    "shuffle": lambda: kind(
        IMAGE, {"a c": 8, "a": 8, "b": 8, "e": 6}, shuffled, a=conv(3, 16), b=conv(8, 8), c=conv(8, 8), e=conv(16, 6),
        d=nn.Linear(6, 3),
    ),
    "heads": lambda: kind(TOKENS, {"qkv": 2, "proj": 8}, heads, qkv=nn.Linear(8, 24), proj=nn.Linear(8, 8),
                          d=nn.Linear(8, 3)),
    "heads of three layers": lambda: kind(
        TOKENS, {"q k v": 4, "proj": 8}, apart, q=nn.Linear(8, 32), k=nn.Linear(8, 32), v=nn.Linear(8, 32),
        proj=nn.Linear(32, 8), d=nn.Linear(8, 3),
    ),
    "places": lambda: kind(
        TOKENS, {"embed proj": 8, "qkv": 4}, biased, embed=nn.Linear(8, 8), places=scale(1, 6, 8),
        table=scale(1, 4, 6, 6), qkv=nn.Linear(8, 24), proj=nn.Linear(8, 8), d=nn.Linear(8, 3),
    ),
    "convnext": lambda: kind(
        IMAGE, {"wide": 24}, convnext, stem=conv(3, 8), deep=conv(8, 8, 3, 8), norm=nn.LayerNorm(8),
        wide=nn.Linear(8, 24), narrow=nn.Linear(24, 8), gamma=scale(8), d=nn.Linear(8, 3),
    ),
    "gate": lambda: kind(
        IMAGE, {"a up": 12, "down": 4}, gated, a=conv(3, 12), down=conv(12, 4, 1), up=conv(4, 12, 1),
        d=nn.Linear(12, 3),
    ),
    "gate of halves": lambda: kind(
        TOKENS, {"a": 6}, lambda net, x: net.d(functional.glu(net.a(x)).mean(1)), a=nn.Linear(8, 12),
        d=nn.Linear(6, 3),
    ),
    "transposed": lambda: kind(
        IMAGE, {"a": 8, "b": 12}, lambda net, x: net.d(torch.relu(net.c(net.b(net.a(x)))).mean((2, 3))),
        a=conv(3, 8), b=nn.ConvTranspose2d(8, 12, 2, 2), c=nn.ConvTranspose2d(12, 12, 2, 2, groups=12),
        d=nn.Linear(12, 3),
    ),
    "transposed in groups": lambda: kind(
        IMAGE, {"a": 4, "b": 6}, lambda net, x: net.d(torch.relu(net.b(net.a(x))).mean((2, 3))),
        a=conv(3, 8), b=nn.ConvTranspose2d(8, 12, 2, 2, groups=2), d=nn.Linear(12, 3),
    ),
    "side by side": lambda: kind(
        IMAGE, {"a": 8, "b": 4, "c": 6},
        beside,
        a=conv(3, 8), b=conv(8, 4), c=conv(12, 6), d=nn.Linear(6, 3),
    ),
    "parts by place": lambda: kind(
        IMAGE, {"a > b": 7, "a > c": 5, "b": 6, "c": 5}, parted,
        a=conv(3, 12), b=conv(7, 6), c=conv(5, 5), d=nn.Linear(11, 3),
    ),
    "sizes written out": lambda: kind(
        IMAGE, {"a": 6, "b": 10}, lambda net, x: net.d(torch.relu(net.b(net.a(x).view(-1, 6 * 64)))),
        a=conv(3, 6), b=nn.Linear(384, 10), d=nn.Linear(10, 3),
    ),
    "parts of given sizes": lambda: kind(
        TOKENS, {"a": 5, "a > e": 3, "b": 6}, sizes_apart,
        a=nn.Linear(8, 16), e=nn.Conv1d(3, 3, 3, padding=1, groups=3), b=nn.Linear(8, 6), d=nn.Linear(6, 5),
    ),
    "rows across": lambda: kind(
        IMAGE, {"a": 8, "b": 6}, turned, a=conv(3, 8), b=nn.Linear(8, 6), d=nn.Linear(6, 5),
    ),
    "padded with channels": lambda: kind(
        IMAGE, {"a b": 8, "b": 4}, widened, a=conv(3, 8), b=conv(8, 12), d=nn.Linear(12, 3),
    ),
    "space to depth": lambda: kind(
        IMAGE, {"a": 4}, lambda net, x: net.d(functional.pixel_shuffle(net.a(x), 2).mean((2, 3))),
        a=conv(3, 16), d=nn.Linear(4, 3),
    ),
    "unflattened": lambda: kind(
        IMAGE, {"a": 10}, lambda net, x: net.b(net.u(net.a(x.flatten(1)))).flatten(1),
        a=nn.Linear(192, 40), u=nn.Unflatten(1, (10, 2, 2)), b=conv(10, 2),
    ),
}  # fmt: skip
