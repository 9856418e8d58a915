"""Which variant continues which: the tree of recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """A recipe's place in the tree: its row, the row of what it continues (-1 for nothing), and how deep it stands."""

    row: int
    parent: int
    depth: int


def lineage(recipes: Sequence[Sequence[str]]) -> list[Place]:
    """Every recipe once, each under the longest one that it begins with, in the order in which a tree is read.

    `recipes` are lists of steps, each step as text; siblings stay in the order given.
    """
    first: dict[tuple[str, ...], int] = {}
    for row, steps in enumerate(recipes):
        first.setdefault(tuple(steps), row)
    children: dict[int, list[int]] = {}
    for row, steps in enumerate(recipes):
        children.setdefault(_parent(tuple(steps), first), []).append(row)
    found: list[Place] = []
    waiting = [Place(row, -1, 0) for row in reversed(children.get(-1, []))]
    while waiting:  # not recursive: a chain may be as long as there are variants
        place = waiting.pop()
        found.append(place)
        waiting.extend(Place(row, place.row, place.depth + 1) for row in reversed(children.get(place.row, [])))
    return found


def _parent(steps: tuple[str, ...], first: dict[tuple[str, ...], int]) -> int:
    """The row of the longest true beginning that is there, or -1."""
    return next((first[steps[:n]] for n in range(len(steps) - 1, -1, -1) if steps[:n] in first), -1)
