"""A segmenter for real time: it reduces early, and looks far by dilated and asymmetric filters."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import conv_bn


class Bottleneck(nn.Module):
    """1x1 down to a quarter, one wide filter, 1x1 up again, around an identity (Paszke et al. 2016).

    `dilation` widens a 3x3 filter; `asymmetric` makes it a 5x1 and a 1x5.
    """

    def __init__(self, channels: int, *, dilation: int = 1, asymmetric: bool = False) -> None:
        super().__init__()
        hidden = channels // 4
        wide: list[nn.Module] = [nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation, bias=False)]
        if asymmetric:
            wide = [
                nn.Conv2d(hidden, hidden, (5, 1), padding=(2, 0), bias=False),
                nn.Conv2d(hidden, hidden, (1, 5), padding=(0, 2), bias=False),
            ]
        self.body = nn.Sequential(
            *conv_bn(channels, hidden, 1), nn.PReLU(hidden),
            *wide, nn.BatchNorm2d(hidden), nn.PReLU(hidden),
            *conv_bn(hidden, channels, 1),
        )  # fmt: skip
        self.act = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(x + self.body(x))
        return out


class Down(nn.Module):
    """A strided convolution beside a pooling, concatenated: half the size, more channels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out - c_in, 3, 2, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.Sequential(nn.BatchNorm2d(c_out), nn.PReLU(c_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(torch.cat([self.conv(x), self.pool(x)], 1))
        return out


class Up(nn.Module):
    """A transposed convolution: twice the size."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(c_in, c_out, 3, 2, 1, output_padding=1, bias=False)
        self.norm = nn.Sequential(nn.BatchNorm2d(c_out), nn.PReLU(c_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.conv(x))
        return out


class ScenesENet(nn.Module):
    """Scores of every pixel's class, (N, 1, H, W) -> (N, classes, H, W); height and width are multiples of 8."""

    shape: ClassVar = (1, 1, 64, 64)
    data: ClassVar = "fashion-scenes"

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        self.down = nn.Sequential(
            Down(1, 16), Down(16, 32), Bottleneck(32),
            Down(32, 64), Bottleneck(64), Bottleneck(64, dilation=2), Bottleneck(64, asymmetric=True),
            Bottleneck(64, dilation=4),
        )  # fmt: skip
        self.up = nn.Sequential(Up(64, 32), Bottleneck(32), Up(32, 16), Bottleneck(16))
        self.scores = nn.ConvTranspose2d(16, classes, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.scores(self.up(self.down(x)))
        return scores
