"""What was computed last of the very same objects: values that are replaced, never changed, need no second look."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Latest(Generic[T]):
    """One result and what it was made of; replaced as a whole, so that threads may share it."""

    def __init__(self) -> None:
        self.known: tuple[tuple[object, ...], T] | None = None


def remembered(work: Callable[P, T]) -> Callable[P, T]:
    """`work`, which gives its last result again while every argument is the same object, or an equal text or number.

    Its results are shared, so nobody may change them.
    """
    latest: _Latest[T] = _Latest()

    @wraps(work)
    def again(*args: P.args, **named: P.kwargs) -> T:
        given, known = (*args, *named.values()), latest.known
        if known is not None and len(known[0]) == len(given) and all(map(_same, known[0], given)):
            return known[1]
        found = work(*args, **named)
        latest.known = (given, found)
        return found

    return again


def _same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, (str, int, tuple, frozenset)) and type(one) is type(other) and one == other)
