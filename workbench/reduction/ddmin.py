"""Delta debugging: the least part of a list that still fails (Zeller and Hildebrandt 2002, "Simplifying and Isolating
Failure-Inducing Input", IEEE Transactions on Software Engineering 28).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise


def least(items: Sequence[int], fails: Callable[[list[int]], Sequence[int] | None]) -> list[int]:
    """A part of `items` of which none can be left out: `ddmin`, in chunks of neighbours.

    `fails` answers with what is left of a part that still fails, which may be less or more than it was given, or None.
    What is asked has failed already.
    """
    current, chunks = list(items), 2
    while len(current) > 1:
        found = _smaller(current, min(chunks, len(current)), fails)
        if found is not None:
            current, chunks = found, max(chunks - 1, 2) if len(found) > 1 else 2
        elif chunks >= len(current):
            break
        else:
            chunks = 2 * chunks
    return current


def _smaller(current: list[int], chunks: int, fails: Callable[[list[int]], Sequence[int] | None]) -> list[int] | None:
    """The first chunk, or all but one chunk, that fails and is less than all."""
    ends = [round(index * len(current) / chunks) for index in range(chunks + 1)]
    parts = [current[start:end] for start, end in pairwise(ends)]
    rests = [[one for one in current if one not in set(part)] for part in parts] if chunks > 2 else []
    for candidate in (*parts, *rests):
        left = fails(candidate) if candidate else None
        if left is not None and len(left) < len(current):
            return list(left)
    return None
