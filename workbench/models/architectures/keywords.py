"""A keyword spotter for a microcontroller: depthwise-separable convolutions over a spectrogram."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import conv_bn


class TonesDSCNN(nn.Module):
    """A DS-CNN (Zhang et al. 2017): a 10x4 filter with stride 2, four separable blocks, global average pooling.

    Takes 48 steps of time by 10 bands, (N, 1, 48, 10), as `wb.data("tones")` has them.
    """

    shape: ClassVar = (1, 1, 48, 10)
    data: ClassVar = "tones"

    def __init__(self, classes: int = 8, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, (10, 4), 2, (4, 1), bias=False), nn.BatchNorm2d(width), nn.ReLU())
        blocks: list[nn.Module] = []
        for _ in range(4):
            blocks += [*conv_bn(width, width, 3, groups=width), nn.ReLU(), *conv_bn(width, width, 1), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)))
        return logits
