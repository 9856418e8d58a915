"""The shape of a network as a value: its operations in execution order, and what each costs.

Knows no weights. Steps predict what they will do by replacing layers of a `Network` by others, so
that a plan, a prediction and the cost of the finished module all come from the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from workbench.cost.layer import IN_PLACE, Layer


@dataclass(frozen=True)
class Totals:
    """Costs for one input. `peak_activation_bytes` is the largest sum of tensors alive at once."""

    macs: int
    params: int
    memory_access_bytes: int
    peak_activation_bytes: int


T = TypeVar("T")


class Occupancy(NamedTuple):
    """Bytes of activations around one operation."""

    held: int  # while it works, beside its output
    freed: int  # of these, not needed afterwards
    written: int  # its output; 0 where it works in place


class Spot(NamedTuple):
    """Where a chain stands in the place of one operation: the place of that one, and those of the chain."""

    at: int
    start: int
    stop: int


@dataclass(frozen=True)
class Network:
    """Operations in execution order; tensor ids in `reads` and `writes` give the data flow."""

    layers: tuple[Layer, ...]
    #: The network that this one differs from at few places, and the places: totals follow from the difference.
    origin: tuple[Network, tuple[Spot, ...]] | None = field(default=None, repr=False, compare=False)
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"layers": self.layers, "origin": None, "memo": {}}

    def remembered(self, what: Hashable, compute: Callable[[Network], T]) -> T:
        """`compute(network)`, once."""
        if what not in self.memo:
            self.memo[what] = compute(self)
        found: T = self.memo[what]
        return found

    @cached_property
    def by_module(self) -> dict[str, tuple[Layer, ...]]:
        """The operations of each torch module that holds weights, in execution order."""
        found: dict[str, tuple[Layer, ...]] = {}
        for layer in self.layers:
            if layer.module:
                found[layer.module] = (*found[layer.module], layer) if layer.module in found else (layer,)
        return found

    @cached_property
    def totals(self) -> Totals:
        """The sums over all layers. Weights that two operations share are counted once."""
        if self.origin is not None:
            return self._by_difference(*self.origin)
        costs = [layer.costs for layer in self.layers] or [(0, 0, 0)]
        macs, params, moved = map(sum, zip(*costs, strict=True))
        return Totals(macs, params, moved, self._needs[0][0] if self.layers else 0)

    @cached_property
    def _needs(self) -> list[tuple[int, int]]:
        """Bytes alive at each operation, with its index, the most first."""
        return sorted(((one.held + one.written, index) for index, one in enumerate(self.occupancy)), reverse=True)

    def _by_difference(self, base: Network, spots: tuple[Spot, ...]) -> Totals:
        """The origin's totals, with the chains in the place of what they replace."""
        macs, params, moved, _ = astuple(base.totals)
        gone = {spot.at for spot in spots}
        peak = next((need for need, index in base._needs if index not in gone), 0)
        for index, start, stop in spots:
            old, around = base.layers[index].costs, base.occupancy[index]
            macs, params, moved = macs - old[0], params - old[1], moved - old[2]
            beside, before = around.held, 0  # the first link works beside the input, the others without it
            for layer in self.layers[start:stop]:
                own, size = layer.costs, layer.output_bytes
                macs, params, moved = macs + own[0], params + own[1], moved + own[2]
                peak = max(peak, beside + before + size)
                beside, before = around.held - around.freed, size
        return Totals(macs, params, moved, peak)

    def replace(self, replacements: Mapping[str, Sequence[Layer]]) -> Network:
        """The network with each named module's operation replaced by a chain of others.

        The chain's names become `module.0`, `module.1`, ... as in an `nn.Sequential`; a chain of one
        keeps the name.
        """
        layers: list[Layer] = []
        spots = []
        fresh = 1 + max([layer.writes for layer in self.layers], default=0)
        for place, layer in enumerate(self.layers):
            chain = replacements.get(layer.module) if layer.module else None
            if chain is None:
                layers.append(layer)
                continue
            spots.append(Spot(place, len(layers), len(layers) + len(chain)))
            reads, last = layer.reads, len(chain) - 1
            for index, new in enumerate(chain):
                end = f".{index}" if last else ""
                writes = layer.writes if index == last else fresh
                result = index == last and (layer.result or new.result)
                new = new if new.shared == layer.shared else new.but(shared=layer.shared)
                layers.append(new.placed(layer.name + end, layer.module + end, reads, writes, result))
                reads, fresh = (fresh,), fresh + (index < last)
        in_place = any(self.layers[spot.at].fused for spot in spots)  # of these the chain's memory is another's
        return Network(tuple(layers), None if in_place or self.origin else (self, tuple(spots)))

    def mapped(self, layers: Sequence[Layer], become: Callable[[Network], Network | None]) -> Network:
        """The network with other layers, one for one; `become` says what the same makes of the one it differs from."""
        if self.origin is None:
            return Network(tuple(layers))
        base, spots = self.origin
        other, start, index = become(base), 0, 0
        if other is None:
            return Network(tuple(layers))
        for spot in (*spots, Spot(len(base.layers), len(layers), len(layers))):
            kept = zip(layers[start : spot.start], other.layers[index : spot.at], strict=True)
            if not all(one is same for one, same in kept):  # a chain has made a difference to what follows it
                return Network(tuple(layers))
            start, index = spot.stop, spot.at + 1
        return Network(tuple(layers), (other, spots))

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

    def _places(self) -> tuple[dict[int, int], dict[int, int]]:
        """The tensor in whose place another one is written, and the last operation that reads what is in a place."""
        alias: dict[int, int] = {}
        last_use: dict[int, int] = {}
        for index, layer in enumerate(self.layers):
            reads = layer.reads
            for tensor in reads:
                last_use[alias.get(tensor, tensor)] = index
            if reads and (layer.kind == "reshape" or (layer.fused and layer.kind in IN_PLACE)):
                alias[layer.writes] = alias.get(reads[0], reads[0])
        return alias, last_use

    @cached_property
    def occupancy(self) -> tuple[Occupancy, ...]:
        """Bytes of activations around each operation, executing in order and freeing after the last use.

        Fused operations and reshapes work in place, as in a microcontroller's arena.
        """
        alias, last_use = self._places()
        alive: dict[int, int] = {}
        held, unread, found = 0, -1, []  # `unread`: an output that nothing reads goes with the next operation
        for index, layer in enumerate(self.layers):
            own = [alias.get(one, one) for one in layer.reads]
            for tensor in own:
                if tensor not in alive:
                    alive[tensor] = layer.input_bytes
                    held += layer.input_bytes
            output = alias.get(layer.writes, layer.writes)
            written = 0
            if output not in alive:
                alive[output] = written = layer.output_bytes
            freed = 0
            for tensor in (*own, unread):
                if tensor in alive and tensor != output and last_use.get(tensor, -1) <= index:
                    freed += alive.pop(tensor)
            found.append(Occupancy(held, freed, written))
            held += written - freed
            unread = output if last_use.get(output, -1) <= index else -1
        return tuple(found)
