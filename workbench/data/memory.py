"""Memory between batches: what was freed goes back to the system, where the C library would keep it in pieces.

glibc serves batches of up to 32 MB from its heap once it has seen one of that size, and between the runtimes' own
blocks these leave holes: 2,250 pictures of 224 x 224 in batches of 27 had up to 1.9 GB resident, 0.3 of them used.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, TypeVar

from workbench.data.source import leaves

T = TypeVar("T")
#: Bytes of inputs that are read before memory is given back: a few milliseconds each time.
EVERY = 256 << 20


def bounded(batches: Iterable[tuple[Any, T]]) -> Iterator[tuple[Any, T]]:
    """The same batches; what those before have left is given back from time to time."""
    read = 0
    for inputs, labels in batches:
        read += sum(one.nbytes for _, one in leaves(inputs))
        yield inputs, labels
        del inputs, labels
        if read >= EVERY:
            _trim()(0)
            read = 0


@cache
def _trim() -> Callable[[int], object]:
    """What gives memory back: `malloc_trim` of glibc; nothing elsewhere."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or Windows
        return lambda _: None
    return found
