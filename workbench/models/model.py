"""`Model`: a loaded network with what is needed to run, identify and describe it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights


@dataclass(frozen=True)
class Model:
    """A network in evaluation mode, one example input (1, C, H, W), its name and where it came from.

    The module is never changed by the workbench: every step works on a copy.
    """

    module: nn.Module = field(repr=False)
    example: torch.Tensor = field(repr=False)
    name: str
    source: str

    @cached_property
    def hash(self) -> str:
        """A digest of the structure and every weight (16 hex digits)."""
        digest = hashlib.sha256(repr(self.module).encode() + str(tuple(self.example.shape)).encode())
        for name, tensor in self.module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def network(self) -> Network:
        """The operations and shapes, read once on the meta device."""
        return trace(self.module, self.example)

    @cached_property
    def weights(self) -> Weights:
        """The layers' weights with a cache of what steps compute from them (spectra, bases)."""
        return Weights(self.module)
