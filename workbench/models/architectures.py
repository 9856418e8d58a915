"""The three bundled architectures, for 1 x 28 x 28 inputs and ten classes.

Why three: results on an over-parameterised network alone mislead. The VGG-like net is
over-parameterised, the ResNet-like net is of ordinary density, the MobileNetV2-like net is compact.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def conv_bn(c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A bias-free 'same' convolution and its batch norm, (N, c_in, H, W) -> (N, c_out, H/stride, W/stride)."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out)]


class FashionVGG(nn.Module):
    """Plain 3x3 convolutions with batch norm, max pooling and a wide hidden layer (Simonyan & Zisserman 2015)."""

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


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "fashion-vgg": FashionVGG,
    "fashion-resnet": FashionResNet,
    "fashion-mobilenet": FashionMobileNet,
}
