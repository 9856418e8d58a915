"""The shape of a network as a value: its operations in execution order, and what each costs.

Knows no weights. Steps predict what they will do by replacing layers of a `Network` by others, so
that a plan, a prediction and the cost of the finished module all come from the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]

#: Kinds that a runtime computes in place once they are folded into the layer before them.
IN_PLACE = frozenset({"norm", "activation"})
#: What a product counts as its work, and what only moves or names elements.
CONVOLUTIONS = frozenset({"conv", "conv_transpose"})


class Layer(NamedTuple):
    """One operation. Shapes leave the batch out: (C, H, W) for a feature map, (features,) for a vector."""

    name: str
    kind: str  # see `workbench.cost.kinds`; "other" has no rule
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
    fused: bool = False  # folded into a layer before it, see `workbench.cost.fusion`
    op: str = ""  # torch's name of the operator
    others: int = 0  # elements of the second and further inputs
    work: int = 0  # multiply-accumulates of kinds whose count does not follow from the shapes
    stored_bits: int = 0  # of a weight in the file, where it is computed in more: `bits`
    shared: bool = False  # its weights were counted with an earlier operation
    tied: int = 0  # of its weights, how many were counted with an earlier operation where not all were
    result: bool = False  # what it writes is an output of the network, whatever else reads it
    node: str = ""  # of a canonical graph, the node that it comes from
    axes: tuple[int, ...] = ()  # of the input without the batch, those that a pooling over whole axes takes away
    fixed: int = 0  # elements of the largest tensor beside data that no module holds: a parameter, a mask
    #: What makes its weights compress: the share that is zero, and how many values the others have (0: any number).
    pattern: tuple[float, int] = (0.0, 0)

    @property
    def c_in(self) -> int:
        """Input channels or features."""
        return self.input[self._channel_axis]

    @property
    def c_out(self) -> int:
        """Output channels or features."""
        return self.output[self._channel_axis]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        if self.kind == "conv":
            return prod(self.output) * (self.c_in // self.groups) * prod(self.kernel)
        if self.kind == "conv_transpose":
            return prod(self.input) * (self.c_out // self.groups) * prod(self.kernel)
        if self.kind == "linear":
            return prod(self.output) * self.input[-1]
        return self.work

    @property
    def params(self) -> int:
        """Weights and biases that are counted here: 0 where an earlier operation has the same ones."""
        if not self.weights and not self.module:
            return 0  # a filter that nobody learnt, or one that is computed from the data
        return 0 if self.shared else self.weight_elements - self.tied

    @property
    def weight_elements(self) -> int:
        """Weights and biases that are read."""
        if self.kind in CONVOLUTIONS:
            return self.c_in * self.c_out // self.groups * prod(self.kernel) + self.c_out * self.bias
        if self.kind == "linear":
            return self.input[-1] * self.output[-1] + self.output[-1] * self.bias
        return self.weights

    @property
    def memory_access_bytes(self) -> int:
        """What the runtime moves: as `unfused_memory_access_bytes`, but nothing for what is folded away.

        A residual sum that is folded into a convolution still reads the other summand.
        """
        if not self.fused or (self.kind == "add" and self.bits < 32):  # integer kernels do not take sums in
            return self.unfused_memory_access_bytes
        return self.others * self.bits // 8 if self.kind == "add" else 0

    @property
    def unfused_memory_access_bytes(self) -> int:
        """Elements read and written once each, plus the weights, times the element size.

        For a 1x1 convolution h*w*(c_in + c_out) + c_in*c_out, as in ShuffleNetV2 (Ma et al. 2018, eq. 1).
        """
        if self.kind == "reshape":
            return 0
        if self.kind == "copy":  # what is not taken is not read
            return 2 * prod(self.output) * self.bits // 8
        return (prod(self.input) + self.others + prod(self.output) + self.weight_elements) * self.bits // 8

    @property
    def _channel_axis(self) -> int:
        """Channels come first in a feature map, before the kernel's axes, and last for a linear layer."""
        if self.kind == "linear":
            return -1
        return -1 - len(self.kernel) if self.kind in CONVOLUTIONS else 0


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
        return Totals(
            macs=sum(layer.macs for layer in self.layers),
            params=sum(layer.params for layer in self.layers),
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
                    new._replace(
                        name=name,
                        module=module,
                        reads=reads,
                        writes=layer.writes if last else fresh,
                        shared=layer.shared,
                        result=last and (layer.result or new.result),
                    )
                )
                fresh += not last
        return Network(tuple(layers))

    def with_bits(self, bits: int, kinds: Iterable[str] | None = None) -> Network:
        """The network with every layer (or those of `kinds`) at another precision."""
        wanted = None if kinds is None else frozenset(kinds)
        return Network(tuple(x._replace(bits=bits) if wanted is None or x.kind in wanted else x for x in self.layers))

    def with_pattern(self, modules: Collection[str], *, zeros: float = 0.0, values: int = 0) -> Network:
        """The network where weights of these modules hold a share of zeros at least, and few values where given."""
        return Network(
            tuple(
                x._replace(pattern=(max(zeros, x.pattern[0]), values or x.pattern[1])) if x.module in modules else x
                for x in self.layers
            )
        )

    @cached_property
    def occupancy(self) -> tuple[Occupancy, ...]:
        """Bytes of activations around each operation, executing in order and freeing after the last use.

        Fused operations and reshapes work in place, as in a microcontroller's arena.
        """
        alias: dict[int, int] = {}
        for layer in self.layers:
            if layer.reads and (layer.kind == "reshape" or (layer.fused and layer.kind in IN_PLACE)):
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
