"""Few parameters by design: fire modules squeeze with 1x1 filters before they expand."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import FASHION, conv_bn


class Fire(nn.Module):
    """A 1x1 squeeze, then 1x1 and 3x3 filters side by side, concatenated (Iandola et al. 2016)."""

    def __init__(self, c_in: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(*conv_bn(c_in, squeeze, 1), nn.ReLU())
        self.ones = nn.Sequential(*conv_bn(squeeze, expand, 1), nn.ReLU())
        self.threes = nn.Sequential(*conv_bn(squeeze, expand, 3), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze(x)
        return torch.cat([self.ones(x), self.threes(x)], 1)


class FashionSqueezeNet(nn.Module):
    """A stem of 32 channels, four fire modules, a 1x1 classifier before the global average."""

    shape: ClassVar = FASHION
    data: ClassVar = "fashion-mnist"

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.fires = nn.Sequential(
            Fire(32, 16, 32), Fire(64, 16, 48), nn.MaxPool2d(2), Fire(96, 24, 64), Fire(128, 32, 64)
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Conv2d(128, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.fires(self.stem(x)))
        return logits
