"""Small networks and data that the core's tests share: made here, trained on nothing."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import workbench as wb
from workbench.data import Data
from workbench.models import Model

CLASSES = 4
SHAPE = (2, 12, 12)


class TinyNet(nn.Module):
    """Two convolutions around a residual sum, pooled, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = x + torch.relu(self.conv2(x))
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


def tiny_model(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return wb.load(TinyNet(), example=torch.zeros(1, *SHAPE))


def tiny_data(n: int = 100) -> Data:
    """Labels are what the tiny network itself says, so that the original is always right."""
    model = tiny_model()
    generator = torch.Generator().manual_seed(1)
    splits = {}
    for split in ("train", "test"):
        inputs = torch.randn(n, *SHAPE, generator=generator)
        with torch.no_grad():
            labels = model.module(inputs).argmax(1)
        splits[split] = (inputs, labels)
    return wb.data(splits, name="tiny", classes=tuple("abcd"))


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 12, 12), dtype=np.uint8)
