"""Fast by its access to memory: channels are split, one half is transformed, and both are shuffled."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import FASHION, conv_bn


def shuffle(x: torch.Tensor, groups: int = 2) -> torch.Tensor:
    """Channels in turns from each group, (N, C, H, W)."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def branch(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """1x1, 3x3 depthwise, 1x1."""
    return nn.Sequential(
        *conv_bn(c_in, c_out, 1), nn.ReLU(),
        *conv_bn(c_out, c_out, 3, stride=stride, groups=c_out),
        *conv_bn(c_out, c_out, 1), nn.ReLU(),
    )  # fmt: skip


class Unit(nn.Module):
    """Half of the channels pass untouched; guideline 1 of Ma et al. 2018: equal widths."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = branch(channels // 2, channels // 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, used = x.chunk(2, 1)
        return shuffle(torch.cat([kept, self.branch(used)], 1))


class Down(nn.Module):
    """Both halves are transformed with stride 2, and the channels grow."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.left = nn.Sequential(
            *conv_bn(c_in, c_in, 3, stride=2, groups=c_in), *conv_bn(c_in, c_out // 2, 1), nn.ReLU()
        )
        self.right = branch(c_in, c_out // 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return shuffle(torch.cat([self.left(x), self.right(x)], 1))


class FashionShuffleNet(nn.Module):
    """A stem of 24 channels, two stages of one reduction and two units (64, 128), a 1x1 head."""

    shape: ClassVar = FASHION
    data: ClassVar = "fashion-mnist"

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 24, 3), nn.ReLU())
        self.stages = nn.Sequential(Down(24, 64), Unit(64), Unit(64), Down(64, 128), Unit(128), Unit(128))
        self.head = nn.Sequential(
            *conv_bn(128, 192, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stages(self.stem(x)))
        return logits
