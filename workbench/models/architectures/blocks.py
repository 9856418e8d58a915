"""What the bundled architectures share."""

from __future__ import annotations

from typing import Protocol

from torch import nn

#: One grey image of 28 x 28, with a batch of 1.
FASHION = (1, 1, 28, 28)


def conv_bn(c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A bias-free 'same' convolution and its batch norm, (N, c_in, H, W) -> (N, c_out, H/stride, W/stride)."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out)]


class Architecture(Protocol):
    """What makes a bundled network anew, untrained."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input, with a batch of 1."""
        ...

    @property
    def data(self) -> str:
        """The data of `wb.data` that the bundled weights were trained on."""
        ...

    def __call__(self) -> nn.Module: ...  # the class itself
