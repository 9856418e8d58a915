"""The shape of a network as a value: its operations in execution order, and what each costs.

Knows no weights. Steps predict what they will do by replacing layers of a `Network` by others, so
that a plan, a prediction and the cost of the finished module all come from the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from workbench.cost.fusion import HOSTS, mark_fused
from workbench.cost.layer import IN_PLACE, Layer
from workbench.cost.links import Executed, Links, Place, Rule, placed


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


@dataclass(frozen=True, eq=False)
class Network:
    """Operations in execution order; tensor ids in `reads` and `writes` give the data flow."""

    layers: tuple[Layer, ...]
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __eq__(self, other: object) -> bool:
        return self.layers == other.layers if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.layers)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self.layers,)

    def remembered(self, what: Hashable, compute: Callable[[Network], T]) -> T:
        """`compute(network)`, once."""
        if what not in self.memo:
            self.memo[what] = compute(self)
        found: T = self.memo[what]
        return found

    def total(self, of: Callable[[Layer], float]) -> float:
        """The sum of what a function says of each layer, once; it may look at nothing but the shape."""
        return self.remembered(("total", of), lambda network: network._total(of))

    def _total(self, of: Callable[[Layer], float]) -> float:
        return _sum(of, [one.layer for one in self.flow])

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
        costs = [layer.costs for layer in self.layers] or [(0, 0, 0)]
        macs, params, moved = map(sum, zip(*costs, strict=True))
        return Totals(macs, params, moved, self._needs[0][0] if self.layers else 0)

    @cached_property
    def _needs(self) -> list[tuple[int, int]]:
        """Bytes alive at each operation, with its index, the most first."""
        return sorted(((one.held + one.written, index) for index, one in enumerate(self.occupancy)), reverse=True)

    @cached_property
    def flow(self) -> Sequence[Place]:
        """The operations with their places."""
        return [Place(x, x.name, x.module, x.reads, x.writes, x.result) for x in self.layers]

    @property
    def steps(self) -> Sequence[Executed]:
        """What is executed, in order, chains in one piece."""
        return self._single

    @cached_property
    def _single(self) -> list[Executed]:
        return [(x.layer, x.reads, x.writes) for x in self.flow]

    def places(self) -> Iterator[Place]:
        """The operations with their places, one by one: for who wants the first few."""
        yield from self.flow

    def told(self, of: Callable[[Layer, str, str], T]) -> list[T]:
        """What a function, which can be hashed, says of each operation, its name and its module's.

        Once for what is not replaced.
        """
        return self.remembered(of, lambda network: network._told(of))

    def _told(self, of: Callable[[Layer, str, str], T]) -> list[T]:
        return [of(*place[:3]) for place in self.flow]

    def added(self, of: Callable[[Network], Mapping[int, int]]) -> int:
        """The sum of what a function, which looks at no chain, says of tensors that operations without bias write."""
        return self.remembered(("added", of), lambda network: network._added(of))

    def _added(self, of: Callable[[Network], Mapping[int, int]]) -> int:
        by_tensor = self.remembered(of, of)
        return sum(by_tensor.get(one.writes, 0) for one in self.flow if not one.layer.bias)

    @cached_property
    def folded(self) -> frozenset[int]:
        """The tensors that an operation which is folded away reads first."""
        return frozenset(layer.reads[0] for layer in self.layers if layer.fused and layer.reads)

    @cached_property
    def recurrent(self) -> tuple[Layer, ...]:
        """The recurrent layers."""
        return tuple(layer for layer in self.layers if layer.kind == "recurrent")

    def replace(self, replacements: Mapping[str, Sequence[Layer] | Callable[[Layer], Sequence[Layer]]]) -> Network:
        """The network with each named module's operation replaced by a chain of others, or by what makes one of it.

        The chain's names become `module.0`, `module.1`, ... as in an `nn.Sequential`; a chain of one
        keeps the name. Nothing is folded into a chain that does not end in what folds others in.
        """
        links: dict[int, Links] = {}
        alone = set[int]()
        for at in sorted(at for module in replacements for at in self._uses.get(module, ())):
            old = self.flow[at]
            given = replacements[old.module]
            chain = given(old.layer) if callable(given) else given
            links[at] = (chain if isinstance(chain, Links) else Links(chain)).sharing(old.layer.shared, old.module)
            if chain[-1].kind not in HOSTS:
                alone.add(at)
        return Replaced(self._unfolded(frozenset(alone)) if alone else self, links)

    @cached_property
    def _uses(self) -> dict[str, list[int]]:
        """The places of each module's operations."""
        found: dict[str, list[int]] = {}
        for at, one in enumerate(self.flow):
            if one.module:
                found.setdefault(one.module, []).append(at)
        return found

    @cached_property
    def _fresh(self) -> int:
        """The first of the tensor ids that nothing has."""
        return 1 + max([one.writes for one in self.flow], default=0)

    def _unfolded(self, alone: frozenset[int]) -> Network:
        """The network where nothing is folded into the operations at these places."""
        return self.remembered(alone, lambda network: network._apart(alone))

    def _apart(self, alone: frozenset[int]) -> Network:
        if not any(self.layers[at].writes in self.folded for at in alone):
            return self
        marked = mark_fused([x.but(kind="other") if at in alone else x for at, x in enumerate(self.layers)])
        return Network(tuple(self.layers[at] if at in alone else x for at, x in enumerate(marked)))

    def mapped(self, rule: Rule) -> Network:
        """The network with every layer as a rule, which can be hashed, has it: one for one, and remembered."""
        return self.remembered(rule, lambda network: network._mapped(rule))

    def _mapped(self, rule: Rule) -> Network:
        made: dict[int, Layer] = {}
        layers = []
        for layer in self.layers:
            new = rule(layer, layer.module, made.get(layer.reads[0]) if layer.reads else None)
            made[layer.writes] = new
            layers.append(new)
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


class Replaced(Network):
    """A network with chains in the place of some operations: told by the difference; its layers are made when asked."""

    if TYPE_CHECKING:
        base: Network
        links: Mapping[int, Links]  # the chains by the place in the base, in rising order

    def __init__(self, base: Network, links: Mapping[int, Links]) -> None:
        self.__dict__.update(base=base, links=links, memo={})

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The operations, each of which knows its place."""
        return tuple(self._spliced(self.base.layers, lambda at: [x.layer.placed(*x[1:]) for x in self._chain_at(at)]))

    @cached_property
    def flow(self) -> Sequence[Place]:
        """As for every network, without making layers of it."""
        return self._spliced(self.base.flow, self._chain_at)

    @cached_property
    def _first_ids(self) -> dict[int, int]:
        """Of each chain the first id of what is written between its links: nothing in the base has these."""
        sizes = map(len, self.links.values())
        return dict(zip(self.links, accumulate(sizes, initial=self.base._fresh), strict=False))

    def _chain_at(self, at: int) -> list[Place]:
        return placed(self.links[at], self.base.flow[at], self._first_ids[at])

    @property
    def steps(self) -> Sequence[Executed]:
        """As for every network."""
        found = [*self.base._single]
        for at, chain in self.links.items():
            _, reads, writes = found[at]
            found[at] = (chain, reads, writes)
        return found

    def places(self) -> Iterator[Place]:
        """As for every network, made one by one."""
        for at, old in enumerate(self.base.flow):
            yield from self._chain_at(at) if at in self.links else (old,)

    @cached_property
    def recurrent(self) -> tuple[Layer, ...]:
        """As for every network: no chain has any."""
        return self.base.recurrent

    def _told(self, of: Callable[[Layer, str, str], T]) -> list[T]:
        flow = self.base.flow

        def of_chain(at: int) -> list[T]:
            layers, name, module = self.links[at], flow[at].name, flow[at].module
            if len(layers) == 1:
                return [of(layers[0], name, module)]
            return [of(layer, f"{name}.{n}", f"{module}.{n}") for n, layer in enumerate(layers)]

        return self._spliced(self.base.told(of), of_chain)

    def _spliced(self, kept: Sequence[T], made: Callable[[int], Sequence[T]]) -> list[T]:
        """What is kept of the base, with what is made of each chain, by its place, for what is replaced."""
        found: list[T] = []
        done = 0
        for at in self.links:
            found += kept[done:at]
            found += made(at)
            done = at + 1
        return [*found, *kept[done:]]

    def _added(self, of: Callable[[Network], Mapping[int, int]]) -> int:
        by_tensor, flow = self.base.remembered(of, of), self.base.flow
        total = self.base.added(of)
        for at, chain in self.links.items():
            total += by_tensor.get(flow[at].writes, 0) * (flow[at].layer.bias - chain[-1].bias)
        return total

    @cached_property
    def totals(self) -> Totals:
        """The base's totals, with the chains in the place of what they replace."""
        flow, around = self.base.flow, self.base.occupancy
        if any(flow[at].layer.fused for at in self.links):  # of these the chain's memory is another's
            return super().totals
        macs, params, moved, _ = astuple(self.base.totals)
        peak = next((need for need, index in self.base._needs if index not in self.links), 0)
        for at, chain in self.links.items():
            old, new, (held, freed, _) = flow[at].layer.costs, chain.costs, around[at]
            macs, params, moved = macs - old[0] + new[0], params - old[1] + new[1], moved - old[2] + new[2]
            first, between = chain.written  # the first link works beside the input, the others without it
            peak = max(peak, held + first, held - freed + between)
        return Totals(macs, params, moved, peak)

    def _total(self, of: Callable[[Layer], float]) -> float:
        gone = _sum(of, [self.base.flow[at].layer for at in self.links])
        return self.base.total(of) - gone + sum([chain.total(of) for chain in self.links.values()])

    def _mapped(self, rule: Rule) -> Network:
        base, flow = self.base.mapped(rule), self.base.flow
        links = {}
        for at, chain in self.links.items():
            was, inside = base.flow[at], f"{flow[at].module}."
            named = any(one == inside[:-1] or one.startswith(inside) for one in rule.excluded)
            new = Links([rule(x[0], x[2], None) for x in self._chain_at(at)]) if named else chain.mapped(rule)
            if new[-1].bits != was.layer.bits and was.writes in base.folded:  # it matters to what follows
                return super()._mapped(rule)
            links[at] = new
        return Replaced(base, links)


def _sum(of: Callable[[Layer], float], layers: Iterable[Layer]) -> float:
    return sum([one.memo.get(of) or one.remembered(of, of) for one in layers])
