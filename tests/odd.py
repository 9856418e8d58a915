"""Odd little networks: what users really have, in the smallest form. `NETWORKS` maps a name to (module, example)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as fn
from torch.nn.utils import parametrizations, prune

Tensor = torch.Tensor
IMAGE = (1, 3, 12, 12)
CLASSES = 4


class Odd(NamedTuple):
    module: nn.Module
    example: Any


class Tail(nn.Module):
    """Global average, then the classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


class SameConv(nn.Conv2d):
    """A subclass that pads by itself, to ceil(size / stride), as TensorFlow does."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, k, s, d in zip(x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True):
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            pads = [total // 2, total - total // 2, *pads]
        return fn.conv2d(fn.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return fn.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class LoRAConv(nn.Module):
    """A frozen convolution and a low-rank change of its weight."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.base = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.down = nn.Parameter(torch.randn(2, c_in * 9) * 0.1)
        self.up = nn.Parameter(torch.randn(c_out, 2) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.base.weight + (self.up @ self.down).view_as(self.base.weight)
        return fn.conv2d(x, weight, self.base.bias, padding=1)


class DetectronConv(nn.Conv2d):
    """A convolution with its norm and activation inside, as detectron2 has it."""

    def __init__(self, *args: Any, norm: nn.Module | None = None, act: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.norm, self.act = norm, act

    def forward(self, x: Tensor) -> Tensor:
        x = fn.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        x = self.norm(x) if self.norm is not None else x
        return self.act(x) if self.act is not None else x


class BatchNormAct(nn.BatchNorm2d):
    """A batch norm with the activation inside, as timm has it."""

    def forward(self, x: Tensor) -> Tensor:
        return fn.relu(super().forward(x))


class FunctionalConv(nn.Module):
    def __init__(self, c_in: int, c_out: int, name: str = "kernel") -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.randn(c_out, c_in, 3, 3) * 0.2))

    def forward(self, x: Tensor) -> Tensor:
        return fn.conv2d(x, getattr(self, self.name))


class Lambda(nn.Module):
    """A forward given as a function of the module and its inputs; parts by keyword."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Several(Lambda):
    """The same with any number of inputs."""

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


class Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        same = stride == 1 and c_in == c_out
        self.short = None if same else nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(fn.relu(self.bn1(self.conv1(x)))))
        return fn.relu(y + (x if self.short is None else self.short(x)))


class Gated(nn.Module):
    """A residual block that takes a second argument."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return x + self.conv(x) * gate


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(fn.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Dense(nn.Module):
    """A layer of a DenseNet."""

    def __init__(self, c_in: int, growth: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(fn.relu(self.bn(x)))], 1)


class KeepsLast(nn.Module):
    """Keeps an activation, with the graph that made it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.t = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), Tail(16)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = fn.relu(self.a(x))
        return self.t(fn.relu(self.b(self.kept)))


class PlainAttribute(nn.Module):
    """A tensor that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
        self.a, self.b, self.t = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), Tail(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.t(fn.relu(self.b(fn.relu(self.a(x - self.mean)))))


class Flatten(nn.Module):
    """A user's own, of a name that torch has too."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1)


class UNet(nn.Module):
    """Down, up, and across: a map of scores as large as the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)
        self.up1, self.up2 = nn.ConvTranspose2d(16, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.d, self.e = nn.Conv2d(32, 16, 3, padding=1), nn.Conv2d(16, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = fn.relu(self.a(x))
        z = fn.relu(self.b(y))
        up = fn.relu(self.d(torch.cat([self.up1(fn.relu(self.c(z))), z], 1)))
        return self.e(torch.cat([self.up2(up), y], 1))


class Detector(nn.Module):
    """Boxes and scores of two levels, as a dictionary; anchors are made from the sizes of the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1)
        self.boxes, self.scores = nn.Conv2d(16, 4, 3, padding=1), nn.Conv2d(16, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = fn.relu(self.body(x))
        levels = [first, fn.relu(self.down(first))]
        boxes = torch.cat([self.boxes(one).flatten(2).transpose(1, 2) for one in levels], 1)
        scores = torch.cat([self.scores(one).flatten(2).transpose(1, 2) for one in levels], 1)
        grid = torch.cat([_grid(one) for one in levels])
        return {"boxes": boxes + grid, "scores": scores.sigmoid()}


def _grid(level: Tensor) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(level.shape[2]), torch.arange(level.shape[3]), indexing="ij")
    return torch.stack([columns, rows, columns + 1, rows + 1], -1).reshape(-1, 4).float()


def _two() -> dict[str, nn.Module]:
    return {"a": nn.Conv2d(3, 16, 3), "b": nn.Conv2d(16, 16, 3), "t": Tail(16)}


def _body(*layers: nn.Module, channels: int = 16) -> nn.Sequential:
    return nn.Sequential(*layers, nn.ReLU(), Tail(channels))


def _tied(bias: bool) -> nn.Module:
    net = Lambda(
        lambda s, x: s.t(fn.relu(s.b(fn.relu(s.a(fn.relu(s.st(x))))))),
        st=nn.Conv2d(3, 16, 3), a=nn.Conv2d(16, 16, 3, bias=bias), b=nn.Conv2d(16, 16, 3, bias=bias), t=Tail(16),
    )  # fmt: skip
    net.b.weight = net.a.weight
    return net


def _tied_linear() -> nn.Module:
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(432, 64), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.ReLU(),
        nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, CLASSES),
    )  # fmt: skip
    net[5].weight = net[3].weight
    return net


def _pruned() -> nn.Module:
    layer = nn.Conv2d(16, 16, 3)
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


def _locked() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), Tail(16))
    net.lock = threading.Lock()  # type: ignore[assignment]  # what many real networks carry
    return net


def _bracketed() -> nn.Module:
    net = nn.Sequential()
    net.add_module("conv[0]", nn.Conv2d(3, 16, 3))
    net.add_module("conv*", nn.Conv2d(16, 16, 3))
    net.add_module("t", Tail(16))
    return net


def _prealloc(s: Any, x: Tensor) -> Tensor:
    out = torch.zeros(x.shape[0], 16, x.shape[2] - 2, x.shape[3] - 2)
    out[:, :8] = s.a(x)
    out[:, 8:] = s.b(x)
    return s.t(fn.relu(s.c(out)))


def _shared_levels(s: Any, x: Tensor) -> Tensor:
    y = fn.relu(s.st(x))
    small = fn.relu(s.b2(s.c(fn.max_pool2d(y, 2))))
    return s.t(fn.relu(s.b1(s.c(y))) + fn.interpolate(small, scale_factor=2))


def _make() -> dict[str, Odd]:
    r = torch.randn
    conv_in = nn.Conv2d(3, 16, 3)
    found: dict[str, tuple[nn.Module, Any]] = {
        # wrapped and computed weights
        "same padding": (_body(SameConv(3, 16, 3, 2), nn.ReLU(), SameConv(16, 16, 4)), r(IMAGE)),
        "weight standardisation": (_body(StandardisedConv(3, 16, 3), nn.ReLU(), StandardisedConv(16, 16, 3)), r(IMAGE)),
        "LoRA": (_body(LoRAConv(3, 16), nn.ReLU(), LoRAConv(16, 16)), r(IMAGE)),
        "detectron": (
            _body(DetectronConv(3, 16, 3, norm=nn.BatchNorm2d(16), act=fn.relu), DetectronConv(16, 16, 3)), r(IMAGE)),
        "batch norm with activation": (
            _body(nn.Conv2d(3, 16, 3), BatchNormAct(16), nn.Conv2d(16, 16, 3), BatchNormAct(16)), r(IMAGE)),
        "weight norm": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), parametrizations.weight_norm(nn.Conv2d(16, 16, 3))),
                        r(IMAGE)),
        "weight norm, old": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), torch.nn.utils.weight_norm(nn.Conv2d(16, 16, 3))),
                             r(IMAGE)),
        "spectral norm": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), parametrizations.spectral_norm(nn.Conv2d(16, 16, 3))),
                          r(IMAGE)),
        "torch's pruning": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), _pruned()), r(IMAGE)),
        "functional": (_body(FunctionalConv(3, 16), nn.ReLU(), FunctionalConv(16, 16, "weight")), r(IMAGE)),
        "root parameters": (Lambda(lambda s, x: fn.conv2d(fn.relu(fn.conv2d(x, s.w)), s.v).mean((2, 3)),
                                   w=nn.Parameter(r(16, 3, 3, 3)), v=nn.Parameter(r(CLASSES, 16, 3, 3))), r(IMAGE)),
        "matmul": (Lambda(lambda s, x: fn.relu(x @ s.w) @ s.v, w=nn.Parameter(r(64, 32) * 0.1),
                          v=nn.Parameter(r(32, CLASSES) * 0.1)), r(1, 64)),
        # inputs, outputs, calls
        "single layer": (nn.Linear(64, CLASSES), r(1, 64)),
        "single convolution": (nn.Conv2d(3, CLASSES, 3), r(IMAGE)),
        "keyword calls": (Lambda(lambda s, x: s.t(fn.relu(s.b(input=fn.relu(s.n(input=s.a(x)))))), n=nn.BatchNorm2d(16),
                                 **_two()), r(IMAGE)),
        "tuple output": (Lambda(lambda s, x: (s.t(fn.relu(s.b(fn.relu(s.a(x))))), s.a(x)), **_two()), r(IMAGE)),
        "dict output": (Lambda(lambda s, x: {"out": s.t(fn.relu(s.b(fn.relu(s.a(x))))), "n": x.shape[0]}, **_two()),
                        r(IMAGE)),
        "side head": (Lambda(lambda s, x: [s.t(y := fn.relu(s.b(fn.relu(s.a(x))))), s.side(y)], side=Tail(16),
                             **_two()), r(IMAGE)),
        "two inputs": (Several(lambda s, x, y: s.p(x) + s.q(y).mean(2), p=nn.Linear(8, 16), q=nn.Conv1d(2, 16, 3)),
                       (r(1, 8), r(1, 2, 9))),
        "tokens": (Lambda(lambda s, x: s.f(fn.relu(s.g(s.e(x).mean(1)))), e=nn.Embedding(50, 16), g=nn.Linear(16, 32),
                          f=nn.Linear(32, CLASSES)), torch.arange(7)[None]),
        # layers used twice, tied weights
        "layer used twice": (Lambda(lambda s, x: s.t(fn.relu(s.c(fn.relu(s.c(fn.relu(s.st(x))))))), t=Tail(16),
                                    st=nn.Conv2d(3, 16, 3), c=nn.Conv2d(16, 16, 3, padding=1)), r(IMAGE)),
        "linear used twice": (Lambda(lambda s, x: s.f(fn.relu(s.c(fn.relu(s.c(fn.relu(s.a(x))))))), a=nn.Linear(8, 32),
                                     c=nn.Linear(32, 32), f=nn.Linear(32, CLASSES)), r(1, 8)),
        "used at two levels": (Lambda(_shared_levels, st=nn.Conv2d(3, 16, 3, padding=1), b1=nn.BatchNorm2d(16),
                                      c=nn.Conv2d(16, 16, 3, padding=1), b2=nn.BatchNorm2d(16), t=Tail(16)), r(IMAGE)),
        "shared batch norm": (Lambda(lambda s, x: s.t(fn.relu(s.n(s.b(fn.relu(s.n(s.a(x))))))), n=nn.BatchNorm2d(16),
                                     **_two()), r(IMAGE)),
        "alias": (nn.Sequential(conv_in, nn.ReLU(), c := nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), c, Tail(16)),
                  r(IMAGE)),
        "tied weights": (_tied(False), r(IMAGE)),
        "tied weights, own biases": (_tied(True), r(IMAGE)),
        "tied linear layers": (_tied_linear(), r(IMAGE)),
        # attention and recurrence
        "attention": (Lambda(lambda s, x: s.f(s.m(x, x, x)[0].mean(1)), f=nn.Linear(32, CLASSES),
                             m=nn.MultiheadAttention(32, 4, batch_first=True)), r(1, 5, 32)),
        "transformer layer": (nn.Sequential(nn.Linear(8, 32), nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
                                            nn.Flatten(), nn.Linear(320, CLASSES)), r(1, 10, 8)),
        "LSTM": (Lambda(lambda s, x: s.f(s.r(x)[0][:, -1]), r=nn.LSTM(8, 16, batch_first=True),
                        f=nn.Linear(16, CLASSES)), r(1, 10, 8)),
        "GRU": (Lambda(lambda s, x: s.f(s.r(s.p(x))[0][:, -1]), p=nn.Linear(8, 16),
                       r=nn.GRU(16, 16, 2, batch_first=True), f=nn.Linear(16, CLASSES)), r(1, 6, 8)),
        # paddings and geometry
        "same, even kernel": (_body(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 4, padding="same")),
                              r(IMAGE)),
        "reflected padding": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1,
                                                                            padding_mode="reflect")), r(IMAGE)),
        "circular padding": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1,
                                                                           padding_mode="circular")), r(IMAGE)),
        "stride and dilation": (_body(nn.Conv2d(3, 16, 3, stride=2, padding=2, dilation=2), nn.ReLU(),
                                      nn.Conv2d(16, 16, (3, 1), padding=(1, 0))), r(IMAGE)),
        "grouped": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=4)), r(IMAGE)),
        "depthwise": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, groups=16), nn.ReLU(),
                            nn.Conv2d(32, 16, 1)), r(IMAGE)),
        "transposed": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.ConvTranspose2d(16, 16, 3, stride=2)), r(IMAGE)),
        "one dimension": (nn.Sequential(nn.Conv1d(4, 32, 5), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 5),
                                        nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, CLASSES)),
                          r(1, 4, 50)),
        "one dimension, length is channels": (
            nn.Sequential(nn.Conv1d(4, 32, 5), nn.BatchNorm1d(32), nn.Conv1d(32, 32, 5), nn.BatchNorm1d(32),
                          nn.Flatten(), nn.Linear(32 * 28, CLASSES)), r(1, 4, 36)),
        "three dimensions": (nn.Sequential(nn.Conv3d(2, 16, 3), nn.BatchNorm3d(16), nn.ReLU(), nn.Conv3d(16, 16, 3),
                                           nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, CLASSES)),
                             r(1, 2, 7, 7, 7)),
        # channels that meet what is no layer
        "scaled by a parameter": (Lambda(lambda s, x: s.t(fn.relu(s.b(fn.relu(s.a(x) * s.scale)))),
                                         scale=nn.Parameter(torch.rand(1, 16, 1, 1)), **_two()), r(IMAGE)),
        "masked by a buffer": (Lambda(lambda s, x: s.t(fn.relu(s.b(fn.relu(s.a(x) * s.mask)))),
                                      mask=torch.rand(1, 16, 1, 1), **_two()), r(IMAGE)),
        "hard-coded view": (Lambda(lambda s, x: s.f(fn.max_pool2d(fn.relu(s.b(fn.relu(s.a(x)))), 2).view(-1, 16 * 16)),
                                   f=nn.Linear(256, CLASSES), a=nn.Conv2d(3, 16, 3), b=nn.Conv2d(16, 16, 3)),
                            r(IMAGE)),
        "PReLU": (_body(nn.Conv2d(3, 16, 3), nn.PReLU(16), nn.Conv2d(16, 16, 3)), r(IMAGE)),
        "layer norm": (Lambda(lambda s, x: s.t(s.b(s.n(fn.relu(s.a(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))),
                              n=nn.LayerNorm(16), **_two()), r(IMAGE)),
        "group norm": (_body(nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 16, 3)), r(IMAGE)),
        "instance norm": (_body(nn.Conv2d(3, 16, 3), nn.InstanceNorm2d(16, affine=True), nn.ReLU(),
                                nn.Conv2d(16, 16, 3)), r(IMAGE)),
        "channel shuffle": (_body(nn.Conv2d(3, 16, 3), nn.ChannelShuffle(4), nn.Conv2d(16, 16, 3, groups=4)), r(IMAGE)),
        "split": (Lambda(lambda s, x: s.t(torch.cat([s.c(p) for p in s.a(x).chunk(2, 1)], 1)), a=nn.Conv2d(3, 16, 3),
                         c=nn.Conv2d(8, 8, 3), t=Tail(16)), r(IMAGE)),
        # blocks
        "residual": (nn.Sequential(nn.Conv2d(3, 16, 3), Residual(16, 16), Residual(16, 16), Residual(16, 32, 2),
                                   Residual(32, 32), Tail(32)), r(IMAGE)),
        "squeeze and excite": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), SqueezeExcite(16), nn.Conv2d(16, 16, 3)),
                               r(IMAGE)),
        "DenseNet": (nn.Sequential(nn.Conv2d(3, 16, 3), Dense(16, 8), Dense(24, 8), nn.ReLU(), Tail(32)), r(IMAGE)),
        "gated blocks": (Lambda(lambda s, x: s.t(s.g2(s.g1(y := fn.relu(s.a(x)), y.mean()), y.mean())), g1=Gated(16),
                                g2=Gated(16), a=nn.Conv2d(3, 16, 3), t=Tail(16)), r(IMAGE)),
        "flattened head": (nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1600, 32), nn.ReLU(),
                                         nn.Linear(32, CLASSES)), r(IMAGE)),
        "functional head": (Lambda(lambda s, x: s.g(fn.relu(s.f(torch.flatten(fn.relu(s.a(x)), 1)))),
                                   a=nn.Conv2d(3, 16, 3), f=nn.Linear(1600, 32), g=nn.Linear(32, CLASSES)), r(IMAGE)),
        "user's Flatten": (nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), Flatten(), nn.Linear(1600, CLASSES)),
                           r(IMAGE)),
        "blur pool": (Lambda(lambda s, x: s.t(fn.relu(s.b(fn.conv2d(fn.relu(s.a(x)), s.blur, stride=2, groups=16)))),
                             blur=torch.ones(16, 1, 2, 2) / 4, **_two()), r(IMAGE)),
        "U-Net": (UNet(), r(IMAGE)),
        "detector": (Detector(), r(IMAGE)),
        # in place, kept, attached
        "in place": (nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 16, 3), nn.ReLU(inplace=True),
                                   nn.Conv2d(16, 16, 3), Tail(16)), r(IMAGE)),
        "input changed": (Lambda(lambda s, x: s.t(fn.relu(s.b(fn.relu(s.a(x.sub_(0.5)))))), **_two()), r(IMAGE)),
        "preallocated": (Lambda(_prealloc, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(3, 8, 3), c=nn.Conv2d(16, 16, 3),
                                t=Tail(16)), r(IMAGE)),
        "keeps an activation": (KeepsLast(), r(IMAGE)),
        "plain attribute": (PlainAttribute(), r(IMAGE)),
        "lock": (_locked(), r(IMAGE)),
        "brackets in names": (_bracketed(), r(IMAGE)),
        "half precision": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).half(), r(IMAGE)),
        "double precision": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).double(), r(IMAGE)),
        "dead layer": (_body(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)), r(IMAGE)),
        "dropout": (nn.Sequential(nn.Conv2d(3, 16, 3), nn.Dropout2d(0.5), nn.ReLU(), nn.Conv2d(16, 16, 3), Tail(16),
                                  nn.Dropout(0.5)), r(IMAGE)),
    }  # fmt: skip
    return {name: Odd(module.eval(), example) for name, (module, example) in found.items()}


def networks() -> dict[str, Odd]:
    """Every network anew, the same weights each time; norms have statistics that are not those of a new one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = _make()
        for module, _ in found.values():
            for norm in module.modules():
                if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
                    norm.running_mean.normal_(0, 0.3)
                    norm.running_var.uniform_(0.3, 2)
        found["dead layer"].module[0].bias.data.fill_(-100.0)
    return found
