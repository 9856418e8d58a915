"""Over-parameterised: plain 3x3 convolutions and a wide hidden layer."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from workbench.models.architectures.blocks import FASHION, conv_bn


class FashionVGG(nn.Module):
    """Plain 3x3 convolutions with batch norm, max pooling and a wide hidden layer (Simonyan & Zisserman 2015)."""

    shape: ClassVar = FASHION
    data: ClassVar = "fashion-mnist"

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 1
        for width in (32, "pool", 64, 128, "pool", 256, 256, "pool"):
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [*conv_bn(c_in, width, 3), nn.ReLU()]
            c_in = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(c_in * 3 * 3, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x))
        return logits
