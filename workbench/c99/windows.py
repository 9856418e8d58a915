"""Where convolutions and poolings look."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import onnx

from workbench.artefact.onnx_graph import attribute
from workbench.c99.program import Map
from workbench.c99.source import refuse

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Rows and columns of each."""

    kernel: Pair
    stride: Pair
    before: Pair  # of padding above and to the left
    after: Pair  # and below and to the right
    dilation: Pair

    @property
    def padded(self) -> bool:
        """Whether it reaches beyond the map."""
        return any(self.before + self.after)

    @property
    def plain(self) -> bool:
        """Whether it is one pixel."""
        return self.kernel == (1, 1) and not self.padded

    @property
    def taps(self) -> int:
        """Pixels that it holds."""
        return prod(self.kernel)

    def fields(self, before: Map, after: Map) -> dict[str, Any]:
        """As kernels.h has them."""
        return {
            "from": before, "to": after, "kernel": self.kernel, "stride": self.stride, "before": self.before,
            "dilation": self.dilation,
        }  # fmt: skip

    def __str__(self) -> str:
        said = f"{self.kernel[0]} x {self.kernel[1]}"
        for word, sides in (("stride", self.stride), ("dilation", self.dilation)):
            said += f", {word} {' x '.join(map(str, dict.fromkeys(sides)))}" if sides != (1, 1) else ""
        return said


def window(node: onnx.NodeProto, kernel: tuple[int, ...], before: Map, after: Map) -> Window:
    """The window of a node over a map. Raises: `BadValue` for other than one or two axes."""
    axes = len(kernel)
    if axes not in {1, 2}:
        refuse(node, f"its window has {axes} axes; one or two are read")
    stride = _pair(attribute(node, "strides", [1] * axes), 1)
    dilation = _pair(attribute(node, "dilations", [1] * axes), 1)
    sides = _pair(kernel, 1)
    pads = list(attribute(node, "pads", [0] * 2 * axes))
    first, last = _pair(pads[:axes], 0), _pair(pads[axes:], 0)
    automatic = attribute(node, "auto_pad", b"NOTSET")
    if automatic in {b"SAME_UPPER", b"SAME_LOWER"}:
        needs = zip(before[1:], after[1:], sides, stride, dilation, strict=True)
        total = [max(0, (new - 1) * step + (side - 1) * wide + 1 - old) for old, new, side, step, wide in needs]
        halves = [one // 2 if automatic == b"SAME_UPPER" else one - one // 2 for one in total]
        first, last = _pair(halves, 0), _pair([one - half for one, half in zip(total, halves, strict=True)], 0)
    return Window(sides, stride, first, last, dilation)


def _pair(sizes: Any, default: int) -> Pair:
    """Of one axis: a single row."""
    one = [int(size) for size in sizes]
    return (one[0], one[1]) if len(one) == 2 else (default, one[0])
