"""Compact from the start: inverted residuals."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import FASHION, conv_bn


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 linear projection (Sandler et al. 2018)."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        expand = [*conv_bn(c_in, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand,
            *conv_bn(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.ReLU6(),
            *conv_bn(hidden, c_out, 1),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return x + out if self.residual else out


class FashionMobileNet(nn.Module):
    """Inverted residuals with expansion 4 and a 1x1 head, compact from the start."""

    shape: ClassVar = FASHION
    data: ClassVar = "fashion-mnist"

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 16, 3), nn.ReLU6())
        blocks: list[nn.Module] = []
        c_in = 16
        for expansion, width, count, stride in ((1, 16, 1, 2), (4, 24, 2, 1), (4, 40, 3, 2), (4, 64, 2, 1)):
            for index in range(count):
                blocks.append(InvertedResidual(c_in, width, stride if index == 0 else 1, expansion))
                c_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*conv_bn(c_in, 192, 1), nn.ReLU6())
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.head(self.blocks(self.stem(x))))
        return logits
