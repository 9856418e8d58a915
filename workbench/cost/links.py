"""Chains of layers that stand for one operation, and what follows from their shapes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

from workbench.cost.layer import Layer

T = TypeVar("T")


class Place(NamedTuple):
    """An operation's shape, and where it stands: what a `Layer` says of itself once it is made."""

    layer: Layer
    name: str
    module: str
    reads: tuple[int, ...]
    writes: int
    result: bool


class Rule(Protocol):
    """What becomes of each layer; it can be hashed."""

    @property
    def excluded(self) -> frozenset[str]:
        """The modules by whose name it goes; elsewhere the layer's shape decides."""

    def __call__(self, layer: Layer, module: str, maker: Layer | None) -> Layer:
        """What becomes of a layer in a module; `maker`: what became of the one that made its first input."""

    def __hash__(self) -> int: ...


class Links(tuple[Layer, ...]):
    """A chain that stands for an operation: what follows from its layers alone is found once for all its places."""

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """What was found, by what was asked."""
        return {}

    def remembered(self, what: Hashable, compute: Callable[[Links], T]) -> T:
        """`compute(chain)`, once; it may look at nothing but the shapes."""
        if what not in self.memo:
            self.memo[what] = compute(self)
        found: T = self.memo[what]
        return found

    def total(self, of: Callable[[Layer], float]) -> float:
        """The sum of what a function says of each link."""
        found: float = self.memo.get(of) or self.remembered(of, lambda chain: sum([of(one) for one in chain]))
        return found

    @cached_property
    def costs(self) -> tuple[int, int, int]:
        """MACs, parameters and bytes of memory access of all links."""
        macs, params, moved = 0, 0, 0
        for one in self:
            own = one.costs
            macs, params, moved = macs + own[0], params + own[1], moved + own[2]
        return macs, params, moved

    @cached_property
    def written(self) -> tuple[int, int]:
        """Bytes that the first link writes, and the most that two neighbours do: what is alive beside the others'."""
        sizes = [one.output_bytes for one in self]
        return sizes[0], max(map(sum, pairwise(sizes)), default=0)

    def mapped(self, rule: Rule) -> Links:
        """The chain with every link as a rule has it that names none of their modules."""
        return self.remembered(rule, lambda chain: Links([rule(one, "", None) for one in chain]))

    @cached_property
    def _usual(self) -> bool:
        return all(one.module and not one.shared for one in self)

    def sharing(self, shared: bool, module: str) -> Links:
        """The chain as one whose weights an earlier operation has already, or not; in a module, where it is in none."""
        if not shared and self._usual:
            return self
        return self.remembered(
            ("shared", shared),
            lambda chain: Links([one.but(module=one.module or module, shared=shared) for one in chain]),
        )


#: What is executed in one go, an operation or a chain, with what it reads and what it writes.
Executed = tuple[Layer | Links, tuple[int, ...], int]


def placed(chain: Sequence[Layer], old: Place, fresh: int) -> list[Place]:
    """The links of a chain in the place of an operation."""
    links, last, reads = [], len(chain) - 1, old.reads
    for index, link in enumerate(chain):
        end = f".{index}" if last else ""
        writes, result = (fresh + index, False) if index < last else (old.writes, old.result or link.result)
        links.append(Place(link, old.name + end, old.module + end, reads, writes, result))
        reads = (writes,)
    return links
