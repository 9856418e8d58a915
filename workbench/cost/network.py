"""The shape of a network as a value: its operations in execution order, and what each costs.

Knows no weights. Steps predict what they will do by replacing layers of a `Network` by others, so
that a plan, a prediction and the cost of the finished module all come from the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]

#: Kinds that a runtime folds into the convolution or linear layer before them.
FUSIBLE = frozenset({"norm", "activation"})


class Layer(NamedTuple):
    """One operation. Shapes leave the batch out: (C, H, W) for a feature map, (features,) for a vector."""

    name: str
    kind: str  # conv, conv_transpose, linear, matmul, norm, activation, add, pool, elementwise, reshape, other
    input: Shape
    output: Shape
    module: str = ""  # path of the torch module that holds the weights; "" for a functional operation
    kernel: Shape = ()
    stride: Shape = ()
    padding: Shape = ()
    dilation: Shape = ()
    groups: int = 1
    bias: bool = False
    weights: int = 0  # parameters of kinds whose count does not follow from the shapes
    bits: int = 32  # precision of weights and activations
    reads: tuple[int, ...] = ()  # ids of the tensors read
    writes: int = -1  # id of the tensor written
    fused: bool = False  # folded into the layer before it: costs no memory access of its own

    @property
    def c_in(self) -> int:
        """Input channels or features."""
        return self.input[0] if self.kind != "linear" else self.input[-1]

    @property
    def c_out(self) -> int:
        """Output channels or features."""
        return self.output[0] if self.kind != "linear" else self.output[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        if self.kind == "conv":
            return prod(self.output) * (self.input[0] // self.groups) * prod(self.kernel)
        if self.kind == "conv_transpose":
            return prod(self.input) * (self.output[0] // self.groups) * prod(self.kernel)
        if self.kind in {"linear", "matmul"}:
            return prod(self.output) * self.input[-1]
        return 0

    @property
    def params(self) -> int:
        """Weights and biases."""
        if self.kind in {"conv", "conv_transpose"}:
            weights = self.input[0] * self.output[0] // self.groups * prod(self.kernel)
            return weights + self.output[0] * self.bias
        if self.kind == "linear":
            return self.input[-1] * self.output[-1] + self.output[-1] * self.bias
        return self.weights

    @property
    def memory_access_bytes(self) -> int:
        """Elements read and written once each, plus the weights, times the element size.

        For a 1x1 convolution h*w*(c_in + c_out) + c_in*c_out, as in ShuffleNetV2 (Ma et al. 2018, eq. 1).
        """
        if self.fused or self.kind == "reshape":
            return 0
        elements = prod(self.input) * max(1, len(self.reads)) + prod(self.output) + self.params
        return elements * self.bits // 8


@dataclass(frozen=True)
class Totals:
    """Costs for one input. `peak_activation_bytes` is the largest sum of tensors alive at once."""

    macs: int
    params: int
    memory_access_bytes: int
    peak_activation_bytes: int


class Occupancy(NamedTuple):
    """Bytes of activations around one operation."""

    held: int  # while it works, beside its output
    freed: int  # of these, not needed afterwards
    written: int  # its output; 0 where it works in place


@dataclass(frozen=True)
class Network:
    """Operations in execution order; tensor ids in `reads` and `writes` give the data flow."""

    layers: tuple[Layer, ...]

    @cached_property
    def by_module(self) -> dict[str, tuple[Layer, ...]]:
        """The operations of each torch module that holds weights, in execution order."""
        found: dict[str, tuple[Layer, ...]] = {}
        for layer in self.layers:
            if layer.module:
                found[layer.module] = (*found.get(layer.module, ()), layer)
        return found

    @cached_property
    def totals(self) -> Totals:
        """The sums over all layers. Weights that two operations share are counted once."""
        params = sum(ops[0].params for ops in self.by_module.values())
        params += sum(layer.params for layer in self.layers if not layer.module)
        return Totals(
            macs=sum(layer.macs for layer in self.layers),
            params=params,
            memory_access_bytes=sum(layer.memory_access_bytes for layer in self.layers),
            peak_activation_bytes=max((one.held + one.written for one in self.occupancy), default=0),
        )

    def replace(self, replacements: Mapping[str, Sequence[Layer]]) -> Network:
        """The network with each named module's operation replaced by a chain of others.

        The chain's names become `module.0`, `module.1`, ... as in an `nn.Sequential`; a chain of one
        keeps the name.
        """
        layers: list[Layer] = []
        fresh = 1 + max((layer.writes for layer in self.layers), default=0)
        for layer in self.layers:
            chain = replacements.get(layer.module) if layer.module else None
            if chain is None:
                layers.append(layer)
                continue
            for index, new in enumerate(chain):
                last = index == len(chain) - 1
                name = layer.name if len(chain) == 1 else f"{layer.name}.{index}"
                module = layer.module if len(chain) == 1 else f"{layer.module}.{index}"
                reads = layer.reads if index == 0 else (fresh - 1,)
                layers.append(
                    new._replace(name=name, module=module, reads=reads, writes=layer.writes if last else fresh)
                )
                fresh += not last
        return Network(tuple(layers))

    def with_bits(self, bits: int, kinds: Iterable[str] | None = None) -> Network:
        """The network with every layer (or those of `kinds`) at another precision."""
        wanted = None if kinds is None else frozenset(kinds)
        return Network(tuple(x._replace(bits=bits) if wanted is None or x.kind in wanted else x for x in self.layers))

    @cached_property
    def occupancy(self) -> tuple[Occupancy, ...]:
        """Bytes of activations around each operation, executing in order and freeing after the last use.

        Fused operations and reshapes work in place, as in a microcontroller's arena.
        """
        alias: dict[int, int] = {}
        for layer in self.layers:
            if (layer.fused or layer.kind == "reshape") and layer.reads:
                alias[layer.writes] = alias.get(layer.reads[0], layer.reads[0])
        last_use = {
            alias.get(tensor, tensor): index for index, layer in enumerate(self.layers) for tensor in layer.reads
        }
        alive: dict[int, int] = {}
        found = []
        for index, layer in enumerate(self.layers):
            for tensor in layer.reads:
                alive.setdefault(alias.get(tensor, tensor), prod(layer.input) * layer.bits // 8)
            output = alias.get(layer.writes, layer.writes)
            written = 0 if output in alive else prod(layer.output) * layer.bits // 8
            held = sum(alive.values())
            alive.setdefault(output, written)
            alive = {t: size for t, size in alive.items() if last_use.get(t, -1) > index or t == output}
            found.append(Occupancy(held, held + written - sum(alive.values()), written))
        return tuple(found)
