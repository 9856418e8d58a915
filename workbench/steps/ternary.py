"""`Ternary`: weights of -1, 0 and 1 with one scale for each output channel. For teaching and storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from workbench.quantization.coded import Coded
from workbench.quantization.codes import ternary


@dataclass(frozen=True)
class Ternary(Coded):
    """Replace weights by -1, 0 and 1 times a scale for each output channel (Li et al. 2016, "Ternary weight networks").

    The artefact is no faster; its compressed file is smaller.
    """

    title: ClassVar[str] = "Ternary weights"
    summary: ClassVar[str] = "Weights of -1, 0 and 1 with one scale a channel: stored in a twentieth, no faster."
    values: ClassVar[str] = "-1, 0 and 1"
    bits: ClassVar[float] = 1.58
    zeros: ClassVar[float] = 0.42  # below 0.7 of the mean magnitude

    @staticmethod
    def coded(weight: torch.Tensor) -> torch.Tensor:
        """Signs of the larger weights times their mean magnitude, zero for the others."""
        return ternary(weight)
