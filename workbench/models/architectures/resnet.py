"""Of ordinary density: residual blocks."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import FASHION, conv_bn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity, or a 1x1 projection where the shape changes (He et al. 2016)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(c_in, c_out, 3, stride=stride)
        self.conv2, self.bn2 = conv_bn(c_out, c_out, 3)
        self.relu = nn.ReLU()
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(c_in, c_out, 1, stride=stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: torch.Tensor = self.relu(y + self.shortcut(x))
        return out


class FashionResNet(nn.Module):
    """A stem of 32 channels, two stages of two basic blocks (64, 128), global average pooling."""

    shape: ClassVar = FASHION
    data: ClassVar = "fashion-mnist"

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 32, 3), nn.ReLU())
        blocks: list[nn.Module] = []
        c_in = 32
        for width in (64, 128):
            blocks += [BasicBlock(c_in, width, 2), BasicBlock(width, width, 1)]
            c_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)))
        return logits
