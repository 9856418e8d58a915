"""`wb.cost(model)`: the figures of a network, in total and by layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from workbench.cost.network import Network
from workbench.errors import BadValue

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn

    from workbench.models import Model


@dataclass(frozen=True)
class Cost:
    """Costs of one inference at batch 1. `unsupported` names operations that have no rule and count nothing."""

    macs: int  # multiply-accumulates
    params: int
    memory_access_bytes: int
    peak_activation_bytes: int
    unsupported: tuple[str, ...]
    network: Network = field(repr=False)

    def layers(self) -> pd.DataFrame:
        """One row an operation: layer, kind, input, output, macs, params, memory_access_bytes, bits, fused."""
        return self._layers.copy()

    @cached_property
    def _layers(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            (x.name, x.kind, x.input, x.output, x.macs, x.params, x.memory_access_bytes, x.bits, x.fused)
            for x in self.network.layers
        ]
        columns = ["layer", "kind", "input", "output", "macs", "params", "memory_access_bytes", "bits", "fused"]
        return pd.DataFrame(rows, columns=columns)


def cost(model: Model | nn.Module, example: torch.Tensor | None = None) -> Cost:
    """The cost of a `Model`, or of an `nn.Module` with `example`, one input with a batch of 1.

    Raises: `BadValue` without an example, or with one of a shape that the module does not accept.
    """
    return of_network(_network(model, example))


def of_network(network: Network) -> Cost:
    """The cost of a network that is known by its shapes, such as a recipe's prediction."""
    totals = network.totals
    return Cost(
        macs=totals.macs,
        params=totals.params,
        memory_access_bytes=totals.memory_access_bytes,
        peak_activation_bytes=totals.peak_activation_bytes,
        unsupported=tuple(layer.name for layer in network.layers if layer.kind == "other"),
        network=network,
    )


def _network(model: Model | nn.Module, example: torch.Tensor | None) -> Network:
    found = getattr(model, "network", None)
    if isinstance(found, Network):
        return found
    if example is None:
        raise BadValue("The cost of an nn.Module needs example=, one input with a batch of 1.")
    from workbench.cost.trace import trace

    return trace(model, example)  # type: ignore[arg-type]  # whatever is no Model is a module
