"""`Model`: a loaded network with what is needed to run, identify and describe it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property

import torch

from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue
from workbench.models.graph import Graph, to_data
from workbench.modules.calling import Inputs, flatten


@dataclass(frozen=True)
class Form:
    """A network in canonical form, one input of it, and what a user should know of how it came about."""

    graph: Graph
    example: Inputs
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A network in canonical form, one example input (batch of 1), its name and where it came from.

    The module is in evaluation mode and is the workbench's own: that of the user is not changed by it, nor it by
    what happens to the user's later. Every step works on a copy.

    >>> model = wb.load(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()), example=(1, 3, 16, 16))
    >>> model.shape, list(model.network.by_module)
    ((3, 16, 16), ['0'])
    """

    module: Graph = field(repr=False)
    example: Inputs = field(repr=False)
    name: str
    source: str
    #: What there is to know of how it was loaded, in sentences.
    notes: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input without the batch, such as (C, H, W); of the first where the network takes several."""
        return tuple(flatten(self.example)[0].shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Of one input, float32 or that of whole numbers; of the first where the network takes several."""
        return flatten(self.example)[0].dtype

    @cached_property
    def hash(self) -> str:
        """A digest of the structure and every weight (16 hex digits)."""
        shapes = [list(tensor.shape) for tensor in flatten(self.example)]
        digest = hashlib.sha256(json.dumps([to_data(self.module), shapes], sort_keys=True).encode())
        for name, tensor in self.module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def network(self) -> Network:
        """The operations and shapes, read once on the meta device."""
        return trace(self.module, self.example)

    @cached_property
    def weights(self) -> Weights:
        """The layers' weights with a cache of what steps compute from them (spectra, bases)."""
        return Weights(self.module, example=self.example)


def check_model(given: object, who: str) -> None:
    """Raise `BadValue` for anything else than a `Model`, such as a bare torch module; `who` begins the sentence."""
    if not isinstance(given, Model):
        raise BadValue(
            f"{who} a model from wb.load, got {type(given).__name__}. "
            "Load it first: wb.load(module, example=one_input)."
        )
