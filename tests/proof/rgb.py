"""A small network on coloured pixels, and what a study makes of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import workbench as wb
from workbench.data import Data
from workbench.models import Model

SHAPE = (3, 12, 12)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class ColourNet(nn.Module):
    """Convolutions with an activation, a sum, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.body(x)) + torch.sigmoid(self.gate(x))
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


def colour_model() -> Model:
    torch.manual_seed(0)
    return wb.load(ColourNet(), example=torch.zeros(1, *SHAPE))


def colour_data(n: int = 120, **form: object) -> Data:
    """Pixels, of which the network itself says what they are."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 12, 12, 3), dtype=np.uint8)
    pixels[:, :, :, 1] //= 2  # channels that are not alike
    form = form or {"mean": MEAN, "std": STD}
    unlabelled = wb.data({"train": pixels, "test": pixels}, **form)
    inputs = unlabelled["test"].inputs
    with torch.no_grad():
        labels = colour_model().module(inputs).argmax(1).numpy()
    return wb.data({"train": (pixels, labels), "test": (pixels, labels)}, name="colours", classes=tuple("abcd"), **form)
