"""`wb.cost(model)`: the figures of a network, in total, by layer, and on a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from workbench.cost.energy import Energy, energy, layer_energy
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.on_device import Placement, place
from workbench.cost.roofline import Device, bundled, device

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn


#: Columns of `Cost.layers()`. The two intensities and the energy are of one inference at batch 1.
COLUMNS = (
    "layer", "kind", "input", "output", "macs", "params", "memory_access_bytes", "unfused_memory_access_bytes",
    "arithmetic_intensity", "energy_uj", "bits", "fused",
)  # fmt: skip


class HasNetwork(Protocol):
    """What is known by its operations and shapes: a `Model`, a `Variant`, a `Plan`."""

    @property
    def network(self) -> Network:
        """The operations and shapes."""


@dataclass(frozen=True)
class Cost:
    """Costs of one inference at batch 1. `unsupported` names operations that have no rule and count no MACs."""

    macs: int  # multiply-accumulates
    params: int
    memory_access_bytes: int  # as ONNX Runtime executes it, with operators folded into others
    unfused_memory_access_bytes: int  # every operator reads its inputs and writes its output
    peak_activation_bytes: int
    energy: Energy
    unsupported: tuple[str, ...]
    network: Network = field(repr=False)

    @property
    def arithmetic_intensity(self) -> float:
        """Multiply-accumulates for each byte of memory access."""
        return self.macs / max(1, self.memory_access_bytes)

    @property
    def energy_uj(self) -> float:
        """Microjoules by Horowitz's table, every access going to DRAM; `energy` holds the two parts."""
        return self.energy.total_uj

    def layers(self) -> pd.DataFrame:
        """One row an operation, in execution order; `COLUMNS`. Totals are the sums of the columns."""
        return self._layers.copy()

    def on(self, name: str | Device) -> Placement:
        """The network on a device: latency by the roofline, what bounds each layer, whether it fits, energy.

        `name` is one of `wb.cost.devices()`, or a `Device` of your own.
        Raises: `UnknownName`; `BadValue` for "this-machine" before `wb.measure.calibrate()`.
        """
        return place(self.network, device(name) if isinstance(name, str) else name)

    def devices(self) -> pd.DataFrame:
        """One row a device: what `on(name)` says, as columns. See `Placement.row`."""
        import pandas as pd

        return pd.DataFrame([self.on(name).row() for name in bundled()])

    @cached_property
    def _layers(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame([_row(layer) for layer in self.network.layers], columns=list(COLUMNS))


def cost(model: HasNetwork | nn.Module, example: torch.Tensor | None = None) -> Cost:
    """The cost of a `Model`, of a `Variant`, or of an `nn.Module` with `example`, one input with a batch of 1.

    Raises: `BadValue` without an example, or with one of a shape that the module does not accept.

    >>> wb.cost(torch.nn.Conv2d(3, 8, 3), example=torch.zeros(1, 3, 16, 16)).macs  # 27 x 8 at each of 14 x 14
    42336
    """
    return of_network(_network(model, example))


def of_network(network: Network) -> Cost:
    """The cost of a network that is known by its shapes, such as a recipe's prediction."""
    totals = network.totals
    return Cost(
        macs=totals.macs,
        params=totals.params,
        memory_access_bytes=totals.memory_access_bytes,
        unfused_memory_access_bytes=sum(layer.unfused_memory_access_bytes for layer in network.layers),
        peak_activation_bytes=totals.peak_activation_bytes,
        energy=energy(network),
        unsupported=tuple(layer.name for layer in network.layers if layer.kind == "other"),
        network=network,
    )


def _row(x: Layer) -> tuple[object, ...]:
    moved = x.memory_access_bytes
    return (
        x.name, x.kind, x.input, x.output, x.macs, x.params, moved, x.unfused_memory_access_bytes,
        x.macs / moved if moved else 0.0, layer_energy(x).total_uj, x.bits, x.fused,
    )  # fmt: skip


def _network(model: HasNetwork | nn.Module, example: torch.Tensor | None) -> Network:
    found = getattr(model, "network", None)
    if isinstance(found, Network):
        return found
    from workbench.cost.trace import trace
    from workbench.modules.calling import as_example
    from workbench.modules.unwrap import unwrap

    return trace(unwrap(model), as_example(example))
