"""Huffman coding of arrays of small whole numbers (Huffman 1952), canonical, at most 16 bits a symbol."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.coding.decode import BLOCK, LONGEST, codes

Array = npt.NDArray[Any]

#: Symbols that are handled at once: whole blocks.
PIECE = 1024 * BLOCK


def code_lengths(counts: Array) -> npt.NDArray[np.uint8]:
    """Bits of the code of every symbol, from how often it occurs; 0 for one that does not.

    The expected length is the least that whole bits allow, unless a code would pass 16 bits: then rare
    symbols count as more frequent than they are.
    """
    counts = np.asarray(counts, dtype=np.int64)
    while True:
        lengths = _unlimited(counts)
        if lengths.max(initial=0) <= LONGEST:
            return lengths
        counts = np.where(counts > 0, counts // 2 + 1, 0)


@dataclass(frozen=True)
class Code:
    """What the header says of some values, the bytes of their streams in all, and how to write these."""

    described: dict[str, Any]
    size: int
    write: Callable[[], list[bytes]]


def encode(symbols: Array, kinds: int) -> Code:
    """The code of an array (N,) of whole numbers in [0, kinds). Its size follows from how often each occurs."""
    counts = sum((np.bincount(part, minlength=kinds) for part in blocks(symbols)), np.zeros(kinds, np.int64))
    lengths = code_lengths(counts)
    table = zlib.compress(lengths.tobytes(), 9)
    bits = -(-int(counts @ lengths.astype(np.int64)) // 8)
    described = {"count": len(symbols), "lengths": len(table), "bits": bits}
    size = len(table) + 2 * -(-len(symbols) // BLOCK) + bits
    return Code(described, size, lambda: [table, *_streams(symbols, lengths)])


def blocks(values: Array) -> Iterator[Array]:
    """The array piece by piece: what is made of a piece may be many times as large."""
    for start in range(0, len(values), PIECE):
        yield values[start : start + PIECE]


def _streams(symbols: Array, lengths: Array) -> list[bytes]:
    """The bits that each block takes, and the codes one after another."""
    sizes, written, rest = [], [], np.zeros(0, np.uint8)
    for part in blocks(symbols):
        each = lengths[part].astype(np.int64)
        sizes.append(np.add.reduceat(each, np.arange(0, len(each), BLOCK)).astype("<u2"))
        bits = np.concatenate([rest, _bits(part, lengths, each)])
        whole = len(bits) // 8 * 8
        written.append(np.packbits(bits[:whole]).tobytes())
        rest = bits[whole:]
    return [b"".join(one.tobytes() for one in sizes), b"".join([*written, np.packbits(rest).tobytes()])]


def _bits(part: Array, lengths: Array, each: Array) -> Array:
    """The codes of some symbols one after another, a byte for each bit, their first bit first."""
    values, ends = codes(lengths)[part], np.cumsum(each)
    bits = np.zeros(int(ends[-1]), np.uint8)
    for index in range(int(each.max())):
        inside = each > index
        bits[(ends - each)[inside] + index] = values[inside] >> (each[inside] - 1 - index) & 1
    return bits


def _unlimited(counts: Array) -> npt.NDArray[np.uint8]:
    heap: list[tuple[int, int, tuple[int, ...]]]
    heap = [(int(count), symbol, (symbol,)) for symbol, count in enumerate(counts) if count]
    lengths = np.zeros(len(counts), np.int64)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        merged = first[2] + second[2]
        lengths[list(merged)] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), merged))
    return np.minimum(lengths, 255).astype(np.uint8)
