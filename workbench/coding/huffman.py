"""Huffman coding of arrays of small whole numbers (Huffman 1952), canonical, at most 16 bits a symbol."""

from __future__ import annotations

import heapq
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.coding.decode import BLOCK, LONGEST, codes

Array = npt.NDArray[Any]


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


def encode(symbols: Array, kinds: int) -> tuple[dict[str, int], list[bytes]]:
    """Code an array of whole numbers in [0, kinds): what the header says of it, and its streams."""
    flat = np.asarray(symbols).reshape(-1)
    lengths = code_lengths(np.bincount(flat, minlength=kinds))
    each = lengths[flat].astype(np.int64)
    ends = np.cumsum(each)
    blocks = np.add.reduceat(each, np.arange(0, len(each), BLOCK)) if len(each) else each
    streams = [zlib.compress(lengths.tobytes(), 9), blocks.astype("<u2").tobytes(), _bits(flat, lengths, ends - each)]
    return {"count": len(flat), "lengths": len(streams[0]), "bits": len(streams[2])}, streams


def _bits(flat: Array, lengths: Array, starts: Array) -> bytes:
    """The codes one after another, their first bit highest."""
    values, each = codes(lengths)[flat], lengths[flat].astype(np.int64)
    bits = np.zeros(int(starts[-1] + each[-1]) if len(flat) else 0, np.uint8)
    for index in range(int(each.max(initial=0))):
        inside = each > index
        bits[starts[inside] + index] = values[inside] >> (each[inside] - 1 - index) & 1
    return np.packbits(bits).tobytes()


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
