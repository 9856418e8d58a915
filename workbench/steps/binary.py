"""`Binary`: weights of -1 and 1 with one scale for each output channel. For teaching and storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from workbench.quantization.coded import Coded
from workbench.quantization.codes import binary


@dataclass(frozen=True)
class Binary(Coded):
    """Replace weights by -1 and 1 times one scale for each output channel (Rastegari et al. 2016, "XNOR-Net").

    The weights alone: activations stay in float. The artefact is no faster; its compressed file is smaller.
    """

    title: ClassVar[str] = "Binary weights"
    summary: ClassVar[str] = "Weights of -1 and 1 with one scale a channel: stored in a thirtieth, no faster."
    values: ClassVar[str] = "-1 and 1"
    bits: ClassVar[float] = 1

    @staticmethod
    def coded(weight: torch.Tensor) -> torch.Tensor:
        """Signs times the mean magnitude of each output's weights."""
        return binary(weight)
