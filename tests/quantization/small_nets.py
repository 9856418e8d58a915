"""Networks and inputs that the tests of quantization share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from workbench.onnx_file import write_onnx

SHAPE = (2, 8, 8)


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *SHAPE)).astype(np.float32)


def net(*, gelu: bool = False) -> nn.Module:
    """Four layers: plain, depthwise, pointwise, linear."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.GELU() if gelu else nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, stride=2),
        nn.ReLU6(),
        nn.Conv2d(8, 12, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    for one in module:
        if isinstance(one, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(one.weight)  # torch's own start lets the signal fade
    return module.eval()


def graph(module: nn.Module, folder: Path) -> onnx.ModelProto:
    return onnx.load(str(write_onnx(module, torch.zeros(1, *SHAPE), folder / "net.onnx")))
