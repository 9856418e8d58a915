"""The shape of a network as a value: its operations in execution order, and what each costs.

Knows no weights. Steps predict what they will do by replacing layers of a `Network` by others, so
that a plan, a prediction and the cost of the finished module all come from the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from workbench.cost.layer import IN_PLACE, Layer


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
            reads, last = layer.reads, len(chain) - 1
            for index, new in enumerate(chain):
                end = f".{index}" * (last > 0)
                writes = layer.writes if index == last else fresh
                layers.append(new.but(
                    name=layer.name + end, module=layer.module + end, reads=reads, writes=writes, shared=layer.shared,
                    result=index == last and (layer.result or new.result),
                ))  # fmt: skip
                reads, fresh = (fresh,), fresh + (index < last)
        return Network(tuple(layers))

    def with_bits(self, bits: int, kinds: Iterable[str] | None = None) -> Network:
        """The network with every layer (or those of `kinds`) at another precision."""
        wanted = None if kinds is None else frozenset(kinds)
        return Network(tuple(x.but(bits=bits) if wanted is None or x.kind in wanted else x for x in self.layers))

    def with_pattern(self, modules: Collection[str], *, zeros: float = 0.0, values: int = 0) -> Network:
        """The network where weights of these modules hold a share of zeros at least, and few values where given."""
        return Network(
            tuple(
                x.but(pattern=(max(zeros, x.pattern[0]), values or x.pattern[1])) if x.module in modules else x
                for x in self.layers
            )
        )

    @cached_property
    def occupancy(self) -> tuple[Occupancy, ...]:
        """Bytes of activations around each operation, executing in order and freeing after the last use.

        Fused operations and reshapes work in place, as in a microcontroller's arena.
        """
        alias: dict[int, int] = {}
        last_use: dict[int, int] = {}
        for index, layer in enumerate(self.layers):
            reads = layer.reads
            for tensor in reads:
                last_use[alias.get(tensor, tensor)] = index
            if reads and (layer.kind == "reshape" or (layer.fused and layer.kind in IN_PLACE)):
                alias[layer.writes] = alias.get(reads[0], reads[0])
        alive: dict[int, int] = {}
        held, unread, found = 0, -1, []  # `unread`: an output that nothing reads goes with the next operation
        for index, layer in enumerate(self.layers):
            for tensor in (own := {alias.get(one, one) for one in layer.reads}):
                if tensor not in alive:
                    held += alive.setdefault(tensor, layer.input_bytes)
            output = alias.get(layer.writes, layer.writes)
            written = 0 if output in alive else layer.output_bytes
            alive.setdefault(output, written)
            own.add(unread)
            gone = [one for one in own if one != output and one in alive and last_use.get(one, -1) <= index]
            freed = sum(map(alive.pop, gone))
            found.append(Occupancy(held, freed, written))
            held += written - freed
            unread = output if last_use.get(output, -1) <= index else -1
        return tuple(found)
