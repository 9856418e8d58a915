"""The layers of our own that steps put into networks; everything else is torch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class Reorder(nn.Module):
    """Channels in another order: output channel i is input channel `order[i]`."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)
        self.register_buffer("index", torch.tensor(self.order), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) -> (N, C, ...)."""
        index = self.index
        assert isinstance(index, torch.Tensor)
        return x.index_select(1, index)


class Resize(nn.Module):
    """Images (N, C, H, W) at another size (height, width), bilinear."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, *size)."""
        return functional.interpolate(x, size=self.size, mode="bilinear", align_corners=False)


class ShiftChannels(nn.Module):
    """Each channel moved by one offset of a k x k window: channels are dealt out to the offsets in order.

    Reads what a convolution of this kernel, stride, padding and dilation would read, and multiplies nothing.
    """

    def __init__(
        self,
        channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> None:
        super().__init__()
        self.channels = channels
        self.kernel, self.stride = tuple(kernel), tuple(stride)
        self.padding, self.dilation = tuple(padding), tuple(dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H', W') with the size that the convolution's output has."""
        (k, across), (s, t), (p, q), (d, e) = self.kernel, self.stride, self.padding, self.dilation
        height = (int(x.shape[2]) + 2 * p - d * (k - 1) - 1) // s + 1
        width = (int(x.shape[3]) + 2 * q - e * (across - 1) - 1) // t + 1
        x = functional.pad(x, (q, q, p, p))
        parts = []
        for offset, (start, end) in enumerate(dealt(self.channels, k * across)):
            top, left = offset // across * d, offset % across * e
            rows, columns = top + (height - 1) * s + 1, left + (width - 1) * t + 1
            parts.append(x[:, start:end, top:rows:s, left:columns:t])
        return torch.cat(parts, 1)


def dealt(channels: int, offsets: int) -> list[tuple[int, int]]:
    """The first and the last channel (exclusive) of every offset; as even as whole numbers allow."""
    ends = [channels * (index + 1) // offsets for index in range(offsets)]
    return list(zip([0, *ends[:-1]], ends, strict=True))
