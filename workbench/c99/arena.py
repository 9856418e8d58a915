"""Where each map lies in the arena: no more bytes than are alive at once at the worst step.

Lifetimes follow the steps in the artefact's order, as the prediction `peak_activation_bytes` has it: a map lives from
the step that writes it to the last that reads it. Packing maps of different lives is a puzzle that need not have a
solution at that size; where none is found, what lies in the way is moved, which always works.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.c99.program import Block, Step

#: Orders that are tried before maps are moved; the same ones each time.
_TRIES = 400


@dataclass(frozen=True)
class Life:
    """A block from the step that writes it to the last that reads it, both included."""

    block: Block
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Move:
    """Bytes that go from one place to another before a step."""

    size: int
    source: int
    target: int


@dataclass(frozen=True)
class Layout:
    """The arena: its bytes, where each block lies at each step, and what is moved before it."""

    size: int
    places: tuple[dict[Block, int], ...]
    moves: tuple[tuple[Move, ...], ...]
    shared: dict[Block, Block]  # blocks that are written over another one

    def place(self, step: int, block: Block) -> int:
        """The first byte of a block at a step."""
        return self.places[step][self.shared.get(block, block)]


def lay_out(steps: Sequence[Step]) -> Layout:
    """The places of all blocks, in as many bytes as are alive at once."""
    shared = _in_place(steps)
    lives = _lives(steps, shared)
    size = _most(lives, len(steps))
    fixed = _packed(lives, size)
    if fixed is not None:
        return Layout(size, (fixed,) * len(steps), ((),) * len(steps), shared)
    places, moves = zip(*_moving(lives, len(steps)), strict=True)
    size = max(start + block.size for one in places for block, start in one.items())  # floats begin at whole steps
    return Layout(size, places, moves, shared)


def _in_place(steps: Sequence[Step]) -> dict[Block, Block]:
    """What is written over what it is made of, where nothing reads that afterwards."""
    last = {one.block: at for at, step in enumerate(steps) for one in step.reads}
    shared: dict[Block, Block] = {}
    for at, step in enumerate(steps):
        if step.in_place and step.writes is not None and last[step.reads[0].block] == at:
            block = step.reads[0].block
            shared[step.writes.block] = shared.get(block, block)
    return shared


def _lives(steps: Sequence[Step], shared: dict[Block, Block]) -> list[Life]:
    first: dict[Block, int] = {}
    last: dict[Block, int] = {}
    for at, step in enumerate(steps):
        for tensor in (*step.reads, *([step.writes] if step.writes else [])):
            block = shared.get(tensor.block, tensor.block)
            first.setdefault(block, at)
            last[block] = at
    return [Life(block, at, last[block]) for block, at in first.items()]


def _most(lives: Sequence[Life], steps: int) -> int:
    """Bytes alive at once, at the worst step."""
    return max(sum(one.block.size for one in lives if one.first <= at <= one.last) for at in range(steps))


def _packed(lives: Sequence[Life], size: int) -> dict[Block, int] | None:
    """One place for each block, within so many bytes; None where no order that is tried gives any."""
    for order in _orders(lives):
        places: dict[Block, int] = {}
        for n, life in enumerate(order):
            taken = sorted((places[x.block], places[x.block] + x.block.size) for x in order[:n] if x.meets(life))
            place = _hole(taken, life.block, size)
            if place is None:
                break
            places[life.block] = place
        else:
            return places
    return None


def _orders(lives: Sequence[Life]) -> Iterator[list[Life]]:
    """The largest first, those that live longest first, and both shuffled a little."""
    dice = random.Random(0)
    yield sorted(lives, key=lambda one: -one.block.size)
    yield sorted(lives, key=lambda one: (one.first - one.last, -one.block.size))
    for _ in range(_TRIES):
        weights = {one.block: one.block.size * dice.uniform(0.5, 2.0) for one in lives}
        yield sorted(lives, key=lambda one: -weights[one.block])


def _hole(taken: Sequence[tuple[int, int]], block: Block, size: int) -> int | None:
    """The lowest place for a block among sorted ones that are taken."""
    end = 0
    for start, stop in taken:
        if start - end >= block.size:
            return end
        end = max(end, _up(stop, block.step))
    return end if size - end >= block.size else None


def _up(place: int, step: int) -> int:
    return -(-place // step) * step


def _moving(lives: Sequence[Life], steps: int) -> Iterator[tuple[dict[Block, int], tuple[Move, ...]]]:
    """Places step by step: where there is no hole for what a step writes, all that is alive goes down."""
    places: dict[Block, int] = {}
    size = _most(lives, steps)
    for at in range(steps):
        moves = list[Move]()
        places = {one.block: places[one.block] for one in lives if one.first < at <= one.last}
        for new in [one.block for one in lives if one.first == at]:
            place = _hole(sorted((start, start + block.size) for block, start in places.items()), new, size)
            if place is None:
                moves += _down(places)
                place = _up(max((start + block.size for block, start in places.items()), default=0), new.step)
            places[new] = place
        yield dict(places), tuple(moves)


def _down(places: dict[Block, int]) -> Iterator[Move]:
    """Move all blocks together, the lowest first; `places` are then the new ones."""
    end = 0
    for block in sorted(places, key=places.__getitem__):
        end = _up(end, block.step)
        if places[block] != end:
            yield Move(block.size, places[block], end)
        places[block] = end
        end += block.size
